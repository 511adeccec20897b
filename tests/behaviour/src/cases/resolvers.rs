//! Other resolvers than this C library's: musl, Go, busybox, Python.
use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::Case;
use crate::site::Site;

pub const CASES: &[(&str, Case)] = &[
    ("resolver_getent", getent),
    ("resolver_python", python),
    ("resolver_busybox", busybox),
    ("resolver_musl", musl),
    ("resolver_go", go),
];

/// Programs `cargo xtask setup` makes; a case whose program the machine cannot have says so and passes.
fn tool(name: &str) -> Option<PathBuf> {
    let dir = std::env::var_os("TP_RESOLVERS")?;
    let path = PathBuf::from(dir).join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("{name} is not installed: this resolver is not tried");
    None
}

fn getent(site: &dyn Site) -> Result<()> {
    each(site, |name| vec!["getent".into(), "ahosts".into(), name.into()])
}

fn python(site: &dyn Site) -> Result<()> {
    let script = "import socket, sys; print(socket.getaddrinfo(sys.argv[1], 80))";
    each(site, |name| ["/usr/bin/python3", "-c", script, name].map(Into::into).to_vec())
}

fn busybox(site: &dyn Site) -> Result<()> {
    let Some(busybox) = tool("busybox") else { return Ok(()) };
    // busybox's own resolver does not search: full names only
    for (name, addresses) in site.facts().names.iter().filter(|(name, _)| name.ends_with(".local")) {
        let text = site.app().succeed(&[&busybox.display().to_string(), "nslookup", name])?;
        ensure!(addresses.iter().all(|address| text.contains(address)), "{name}: {text}");
    }
    Ok(())
}

fn musl(site: &dyn Site) -> Result<()> {
    let Some(program) = tool("musl-resolve") else { return Ok(()) };
    let names = site.facts().names.iter().chain(&site.facts().outside);
    let dotted = |name: &str| name.contains('.') && !name.ends_with(".local") && !name.ends_with(".test");
    let asked = names.filter(|(name, _)| !(site.facts().by_search_list && dotted(name)));
    each_of(site, asked, |name| vec![program.display().to_string(), name.into()])
}

fn go(site: &dyn Site) -> Result<()> {
    let Some(program) = tool("go-resolve") else { return Ok(()) };
    each(site, |name| vec![program.display().to_string(), "dns".into(), name.into()])
}

/// Every name, of the cluster and of the world outside.
fn each(site: &dyn Site, command: impl Fn(&str) -> Vec<String>) -> Result<()> {
    each_of(site, site.facts().names.iter().chain(&site.facts().outside), command)
}

/// Each name gives the addresses it must give.
fn each_of<'a>(
    site: &dyn Site,
    names: impl Iterator<Item = &'a (String, Vec<String>)>,
    command: impl Fn(&str) -> Vec<String>,
) -> Result<()> {
    for (name, addresses) in names.filter(|(name, _)| name != "localhost") {
        let done = site.app().run(&command(name))?;
        if addresses.is_empty() {
            ensure!(done.code != Some(0), "{name} does not exist: {done:?}");
        } else {
            ensure!(
                addresses.iter().all(|address| done.stdout.contains(address)),
                "{name} {addresses:?}: {done:?}"
            );
        }
    }
    Ok(())
}
