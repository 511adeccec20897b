//! Machines with other resolver files than the usual one, and who is asked what.
use anyhow::{Result, ensure};

use super::OwnCase;
use crate::site::{Session, Site};
use crate::standalone::Standalone;
use crate::topology::NODE;

pub(super) const CASES: &[(&str, OwnCase)] = &[
    ("resolver_files_each_server_is_asked_its_own_names", who_is_asked),
    ("resolver_files_changed_while_connected", changed),
    ("resolver_files_without_a_name_server", empty),
    ("resolver_files_with_a_dead_server_on_loopback", dead_loopback),
];

const CLUSTER: &str = "echo.default.svc.cluster.local";
const OUTSIDE: &str = "asked-only-outside.wild.example.test";

fn who_is_asked(site: &Standalone) -> Result<()> {
    site.tp().connect(&[])?.success()?;
    for name in [CLUSTER, "db-0.db", OUTSIDE] {
        let done = site.app().probe(&format!("resolve {name}"))?;
        ensure!(done["addresses"].is_array(), "{name}: {done}");
    }
    let asked = site.topology().machine_dns_questions()?;
    ensure!(asked.contains(OUTSIDE), "the machine's own server was not asked:\n{asked}");
    // only what was asked while connected: the cases before may have asked without a cluster
    let recent =
        asked.lines().rev().take_while(|line| !line.contains("marker")).collect::<Vec<_>>().join("\n");
    ensure!(
        !recent.contains("cluster.local"),
        "names of the cluster went to the machine's server:\n{recent}"
    );
    Ok(())
}

fn changed(site: &Standalone) -> Result<()> {
    site.tp().connect(&[])?.success()?;
    with_resolv_conf(site, &format!("options timeout:1\nnameserver 192.0.2.250\nnameserver {NODE}\n"), || {
        resolves(site, CLUSTER, true)?;
        resolves(site, OUTSIDE, true)
    })
}

fn empty(site: &Standalone) -> Result<()> {
    with_resolv_conf(site, "", || {
        site.tp().connect(&[])?.success()?;
        resolves(site, CLUSTER, true)?;
        resolves(site, OUTSIDE, false)
    })
}

fn dead_loopback(site: &Standalone) -> Result<()> {
    with_resolv_conf(site, "nameserver 127.0.0.1\n", || {
        site.tp().connect(&[])?.success()?;
        resolves(site, CLUSTER, true)?;
        resolves(site, OUTSIDE, false)
    })
}

fn resolves(site: &Standalone, name: &str, expected: bool) -> Result<()> {
    let done = site.app().probe(&format!("resolve {name}"))?;
    ensure!(done["addresses"].is_array() == expected, "{name}: {done}");
    Ok(())
}

fn with_resolv_conf(site: &Standalone, text: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let workstation = site.topology().workstation();
    workstation.set_resolv_conf(text)?;
    let result = run();
    workstation.set_resolv_conf(&format!("nameserver {NODE}\n"))?;
    result
}
