//! The recursion of locally hosted clusters: a connect that finds nobody in the cluster leaves the node for its default
//! gateway, which is the workstation, and goes into the tunnel again.
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{OwnCase, as_before, look, reached};
use crate::netns::Netns;
use crate::site::{Session, Site};
use crate::standalone::Standalone;

pub(super) const CASES: &[(&str, OwnCase)] = &[
    ("recursion_storms_without_a_guard", storm),
    ("recursion_is_refused_on_the_side_of_the_nodes", node_side),
    ("recursion_is_refused_for_a_while_if_told_so", block_duration),
    ("recursion_guard_leaves_other_containers_alone", container),
];

/// Offered by the manager; on the node its route leads back to the workstation.
const NOBODY: &str = "10.55.2.1:80";
/// Far more connects than one try and its repetitions make.
const STORM: u64 = 20;

/// What the other cases are about: without a guard one connect becomes ever more.
fn storm(site: &Standalone) -> Result<()> {
    looping(site, "routing:\n  recursionGuard: false\n", |site| {
        let _ = site.app().probe(&format!("connect {NOBODY}"))?;
        std::thread::sleep(Duration::from_millis(500));
        let held = outcome(site, "from_app.syn_held")?;
        ensure!(held >= STORM, "no storm to be guarded against: {held} connects");
        Ok(())
    })
}

fn node_side(site: &Standalone) -> Result<()> {
    looping(site, "", |site| {
        let done = site.app().probe(&format!("connect {NOBODY}"))?;
        ensure!(done["outcome"] == "ECONNREFUSED", "{done}");
        ensure!(outcome(site, "from_app.syn_held")? == 1, "a connect came back into the tunnel");
        ensure!(outcome(site, "from_app.node_side_refused")? == 1, "not refused by the guard");
        let recursion = &site.tp().status()?["routing"]["recursion"];
        ensure!(recursion["node_side"] == serde_json::json!(["eth0"]), "{recursion}");
        ensure!(recursion["node_side_refused"] == 1, "{recursion}");
        // any number of our own, to one address at the same time
        reached(site)?;
        let many = site.app().probe("flood 10.55.0.10:7777 40 100")?;
        ensure!(many["good"] == 40, "{many}");
        Ok(())
    })
}

fn block_duration(site: &Standalone) -> Result<()> {
    let config = "routing:\n  recursionGuard: false\n  recursionBlockDuration: 1ms\n";
    looping(site, config, |site| {
        let done = site.app().probe(&format!("connect {NOBODY}"))?;
        ensure!(done["outcome"] == "ECONNREFUSED", "{done}");
        ensure!(outcome(site, "from_app.syn_held")? == 1, "a connect came back into the tunnel");
        ensure!(outcome(site, "from_app.recursion_refused")? == 1, "not refused by the timer");
        let recursion = &site.tp().status()?["routing"]["recursion"];
        ensure!(recursion["block_us"] == 1000 && recursion["block_refused"] == 1, "{recursion}");
        // after that time the address is open to anybody again
        reached(site)?;
        reached(site)
    })
}

/// A container that uses the workstation's routes on purpose is not on the nodes' side.
fn container(site: &Standalone) -> Result<()> {
    let ws = site.topology().ws();
    let container = Netns::new("box")?;
    ws.veth("box0", &container, "eth0")?;
    ws.ip("addr add 172.31.7.1/24 dev box0")?;
    container.ip("addr add 172.31.7.2/24 dev eth0")?;
    container.ip("route add default via 172.31.7.1")?;
    ws.sysctl("net.ipv4.ip_forward=1")?;
    let result = (|| {
        let before = look(site)?;
        site.tp().connect(&[])?.success()?;
        let mut command = container.enter();
        command.args(["curl", "-sS", "--max-time", "10", "http://10.55.0.10:8080"]);
        let out = command.output().context("curl in the container")?;
        ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        ensure!(outcome(site, "from_app.node_side_refused")? == 0, "refused as if it were a node");
        site.tp().quit()?;
        as_before(site, &before)
    })();
    ws.sysctl("net.ipv4.ip_forward=0")?;
    ws.ip("link del box0")?;
    result
}

/// With the node's way out being the workstation, and this configuration.
fn looping(site: &Standalone, config: &str, case: impl FnOnce(&Standalone) -> Result<()>) -> Result<()> {
    let (ws, node) = (site.topology().ws(), site.topology().cl());
    let dir = site.topology().workstation().dir().join(".config/tp");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("config.yml"), config)?;
    node.ip("route replace 10.55.2.0/24 via 192.0.2.2")?;
    ws.sysctl("net.ipv4.ip_forward=1")?;
    let result = (|| {
        let before = look(site)?;
        site.tp().connect(&[])?.success()?;
        case(site)?;
        site.tp().quit()?;
        as_before(site, &before)
    })();
    ws.sysctl("net.ipv4.ip_forward=0")?;
    node.ip("route replace unreachable 10.55.2.0/24")?;
    // a storm goes on in the node until the kernel there gives up
    site.ensure_quit()?;
    fs::remove_file(dir.join("config.yml"))?;
    result
}

/// A counter of the kernel programs; 0 if it has not moved.
fn outcome(site: &Standalone, name: &str) -> Result<u64> {
    let text = site.tp().run(&["maps", "dump", "outcomes", "--output", "json"])?.success()?;
    let dump: serde_json::Value = serde_json::from_str(&text)?;
    let rows = dump["maps"][0]["rows"].as_array().context("no rows")?;
    let row = rows.iter().find(|row| row["outcome"] == name);
    Ok(row.and_then(|row| row["packets"].as_u64()).unwrap_or(0))
}
