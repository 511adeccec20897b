//! What cannot work says why and what to do, and leaves nothing behind.
use std::fs;

use anyhow::{Result, ensure};

use super::{OwnCase, as_before, look};
use crate::site::{Session, Site};
use crate::standalone::Standalone;
use crate::workstation::USER;

pub(super) const CASES: &[(&str, OwnCase)] = &[
    ("refusal_without_root", without_root),
    ("refusal_wrong_token", wrong_token),
    ("refusal_wrong_certificate", wrong_pin),
    ("refusal_manager_absent", manager_absent),
    ("refusal_malformed_url", malformed),
    ("refusal_no_kubeconfig", no_kubeconfig),
    ("refusal_cluster_unreachable", cluster_unreachable),
    ("refusal_device_of_another_program", device_taken),
];

fn without_root(site: &Standalone) -> Result<()> {
    let before = look(site)?;
    let user = site.app().user(USER);
    let said = user.run(&site.tp().connect_words(&[]))?.failure(1)?;
    ensure!(said.contains("hint:") && said.contains("sudo"), "{said}");
    as_before(site, &before)
}

fn wrong_token(site: &Standalone) -> Result<()> {
    let (scheme, rest) = site.join().split_at(5);
    let (_, address) = rest.split_at(rest.find('@').unwrap_or(0));
    refused(site, &["--manager", &format!("{scheme}not-the-token{address}")])
}

fn wrong_pin(site: &Standalone) -> Result<()> {
    let (url, pin) = site.join().split_at(site.join().len() - 8);
    let other = if pin == "00000000" { "11111111" } else { "00000000" };
    refused(site, &["--manager", &format!("{url}{other}")])
}

fn manager_absent(site: &Standalone) -> Result<()> {
    refused(site, &["--manager", &site.join().replace(":7900", ":7999")])?;
    refused(site, &["--manager", &site.join().replace("192.0.2.1:", "203.0.113.9:")])
}

fn malformed(site: &Standalone) -> Result<()> {
    let before = look(site)?;
    for url in ["tp://", "http://192.0.2.1:7900", "192.0.2.1", "tp://x@192.0.2.1:7900"] {
        let done = site.tp().run(&["connect", "--manager", url])?;
        ensure!(matches!(done.code, Some(1 | 2)) && done.stderr.contains("hint:"), "{url}: {done:?}");
    }
    as_before(site, &before)
}

fn no_kubeconfig(site: &Standalone) -> Result<()> {
    refused(site, &["--kubeconfig", "/nowhere/kubeconfig"])
}

fn cluster_unreachable(site: &Standalone) -> Result<()> {
    let file = site.topology().workstation().dir().join("kubeconfig");
    for server in
        ["https://192.0.2.1:1", "https://203.0.113.9:6443", "https://no-such-host.example.test:6443"]
    {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{name: c, cluster: {{server: \"{server}\", insecure-skip-tls-verify: true}}}}]\n\
             users: [{{name: u, user: {{token: t}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
        );
        fs::write(&file, text)?;
        refused(site, &["--kubeconfig", &file.display().to_string()])?;
    }
    Ok(())
}

/// `tp connect` with these words fails with a hint, and the workstation is as it was.
fn refused(site: &Standalone, words: &[&str]) -> Result<()> {
    let before = look(site)?;
    let mut all = vec!["connect"];
    all.extend(words);
    let said = site.tp().run(&all)?.failure(1)?;
    ensure!(said.contains("hint:"), "{words:?} gives no hint:\n{said}");
    ensure!(!said.contains("panicked"), "{said}");
    as_before(site, &before)
}

/// A device of our name that is not ours is left alone.
fn device_taken(site: &Standalone) -> Result<()> {
    let ws = site.topology().ws();
    ws.ip("tuntap add tp0 mode tun")?;
    let result = (|| {
        let before = look(site)?;
        let said = site.tp().connect(&[])?.failure(1)?;
        ensure!(said.contains("creating the TUN device tp0") && said.contains("hint:"), "{said}");
        as_before(site, &before)
    })();
    ws.ip("tuntap del tp0 mode tun")?;
    result
}
