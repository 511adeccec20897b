//! `--proxy-via` and `--vnat`: names whose addresses mean nothing on the workstation, and flows that leave from an agent.
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{OwnCase, as_before, look};
use crate::manager::{Agent, Manager};
use crate::netns::Netns;
use crate::process::{Guard, eventually};
use crate::site::{Session, Site};
use crate::standalone::Standalone;
use crate::topology::NODE;

pub(super) const CASES: &[(&str, OwnCase)] = &[
    ("proxy_via_reaches_the_agents_own_loopback", own_loopback),
    ("proxy_via_two_workloads", two_workloads),
    ("proxy_via_without_an_agent_says_so", without_an_agent),
    ("proxy_via_an_agent_dies_and_comes_back", dies_and_comes_back),
    ("proxy_via_survives_a_restart_of_the_manager", manager_restarts),
    ("vnat_hides_a_subnet_behind_virtual_addresses", vnat),
];

/// Inside the virtual subnets of the defaults.
const VIRTUAL: [&str; 2] = ["246.246.", "[fd74:7076:"];
/// The pod of `db`, and the node, where `echo` is.
const POD_IP: &str = "10.55.1.2";
const NODE_IP: &str = "10.55.0.10";
const PORT: &str = "7790";
/// How long a change at the far end may take to be noticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

fn own_loopback(site: &Standalone) -> Result<()> {
    let pod = site.topology().pod();
    let _servers =
        [on_loopback(site, pod, "of-the-pod", "127.0.0.1")?, on_loopback(site, pod, "of-the-pod", "[::1]")?];
    let _agent = db(site)?;
    site.tp().connect(&["--proxy-via", "127.0.0.0/8=db", "--proxy-via", "::1/128=db"])?.success()?;
    for (name, loopback) in [("mesh", "127.0.0.1"), ("six", "[::1]")] {
        answers(site, name, "of-the-pod", loopback)?;
        let done = site.app().probe(&format!("udp {name}:{PORT} 1000 20"))?;
        ensure!(
            done["good"] == 20 || done["right"] == 20 || done.to_string().contains("20"),
            "{name}: {done}"
        );
        let done = site.app().probe(&format!("connect {name}:9"))?;
        ensure!(done["outcome"] == "ECONNREFUSED", "{name}: {done}");
    }
    // more than the agent takes on one connection
    let done = site.app().probe("flood mesh:7777 300 1000")?;
    ensure!(done["good"] == 300, "{done}");
    // the kernel's side of it
    let vips: Value =
        serde_json::from_str(&site.tp().run(&["maps", "dump", "vips", "--output", "json"])?.success()?)?;
    ensure!(vips.to_string().contains("246.246."), "no virtual address in the kernel: {vips}");
    let status = site.tp().status()?;
    ensure!(status.to_string().contains("127.0.0.0/8"), "not in the status: {status}");
    let hidden = &status["routing"]["hidden"][0];
    let through = hidden["agent"].as_str().unwrap_or_default();
    ensure!(hidden["workload"] == "db" && through.contains("through the manager"), "no agent: {hidden}");
    // the workstation's own loopback is its own
    let done = site.app().probe(&format!("connect 127.0.0.1:{PORT}"))?;
    ensure!(done["outcome"] == "ECONNREFUSED", "{done}");
    Ok(())
}

fn two_workloads(site: &Standalone) -> Result<()> {
    let (pod, node) = (site.topology().pod(), site.topology().cl());
    let _servers = [
        on_loopback(site, pod, "of-the-pod", "127.0.0.1")?,
        on_loopback(site, node, "of-the-node", "[::1]")?,
    ];
    let _agents = [db(site)?, echo(site)?];
    site.tp().connect(&["--proxy-via", "127.0.0.0/8=db", "--proxy-via", "::1/128=echo"])?.success()?;
    answers(site, "mesh", "of-the-pod", "127.0.0.1")?;
    answers(site, "six", "of-the-node", "[::1]")
}

fn without_an_agent(site: &Standalone) -> Result<()> {
    let before = look(site)?;
    let _agent = db(site)?;
    let done = site.tp().connect(&["--proxy-via", "127.0.0.0/8=nobody", "--proxy-via", "::1/128=db"])?;
    let said = done.failure(1)?;
    ensure!(said.contains("workload nobody") && said.contains("no agent"), "{said}");
    ensure!(!said.contains("workload db"), "that one has an agent: {said}");
    ensure!(said.contains("hint:") && said.contains("--vnat"), "{said}");
    as_before(site, &before)
}

fn dies_and_comes_back(site: &Standalone) -> Result<()> {
    let _server = on_loopback(site, site.topology().pod(), "of-the-pod", "127.0.0.1")?;
    let agent = db(site)?;
    site.tp().connect(&["--proxy-via", "127.0.0.0/8=db"])?.success()?;
    answers(site, "mesh", "of-the-pod", "127.0.0.1")?;
    drop(agent);
    eventually(NOTICED_WITHIN, || {
        let done = site.app().probe(&format!("connect mesh:{PORT} 3"))?;
        ensure!(done["outcome"] == "EHOSTUNREACH", "{done}");
        Ok(())
    })?;
    let notes = site.tp().status()?["notes"].to_string();
    ensure!(notes.contains("workload db") && notes.contains("no usable agent"), "not in the status: {notes}");
    let _agent = db(site)?;
    eventually(NOTICED_WITHIN, || answers(site, "mesh", "of-the-pod", "127.0.0.1"))?;
    let notes = site.tp().status()?["notes"].to_string();
    ensure!(!notes.contains("workload db"), "still in the status: {notes}");
    Ok(())
}

fn manager_restarts(site: &Standalone) -> Result<()> {
    let topology = site.topology();
    let (listen, state) = (format!("{NODE}:7901"), site.dir().join("restarted-manager"));
    let start = || Manager::start(&site.program("tp-traffic"), &topology.node(), &listen, &state);
    let _server = on_loopback(site, topology.pod(), "of-the-pod", "127.0.0.1")?;
    let manager = start()?;
    let _agent = manager.agent(&site.program("tp-probe"), topology.pod(), "db", POD_IP)?;
    let words = ["connect", "--manager", manager.join(), "--proxy-via", "127.0.0.0/8=db"];
    site.tp().run(&words)?.success()?;
    answers(site, "mesh", "of-the-pod", "127.0.0.1")?;
    let session = site.tp().status()?["manager"]["session"].clone();
    drop(manager);
    let _manager = start()?;
    eventually(NOTICED_WITHIN, || {
        ensure!(site.tp().status()?["manager"]["session"] != session, "still the old session");
        answers(site, "mesh", "of-the-pod", "127.0.0.1")
    })
}

fn vnat(site: &Standalone) -> Result<()> {
    site.tp().connect(&["--vnat", "10.55.1.0/24"])?.success()?;
    let done = site.app().probe("echo echo.blue:7777 hello")?;
    ensure!(done["answer"] == "hello" && is_virtual(&done), "{done}");
    let done = site.app().probe("udp echo.blue:7777 1000 20")?;
    ensure!(done["good"] == 20, "{done}");
    // the subnet itself is nobody's here
    let done = site.app().probe("connect 10.55.1.2:7777 3")?;
    ensure!(done["outcome"] != "open", "{done}");
    // what is not hidden is as ever
    let done = site.app().probe("echo echo:7777 hello")?;
    ensure!(done["answer"] == "hello" && !is_virtual(&done), "{done}");
    Ok(())
}

/// The server on that loopback answers to the name, through a virtual address.
fn answers(site: &Standalone, name: &str, server: &str, loopback: &str) -> Result<()> {
    let done = site.app().probe(&format!("echo {name}:{PORT} x"))?;
    let answer = done["answer"].as_str().with_context(|| format!("{name}: {done}"))?;
    ensure!(answer.contains(&format!("here={loopback}:{PORT} name={server}")), "{name}: {done}");
    ensure!(is_virtual(&done), "the app was not given a virtual address: {done}");
    Ok(())
}

fn is_virtual(done: &Value) -> bool {
    done["peer"].as_str().is_some_and(|peer| VIRTUAL.iter().any(|subnet| peer.starts_with(subnet)))
}

fn on_loopback(site: &Standalone, netns: &Netns, name: &str, loopback: &str) -> Result<Guard> {
    let mut command = netns.enter();
    command.arg(site.program("tp-probe")).args(["serve-at", name, &format!("{loopback}:{PORT}")]);
    Ok(Guard::spawn_ready(command)?.0)
}

fn db(site: &Standalone) -> Result<Agent> {
    site.manager().agent(&site.program("tp-probe"), site.topology().pod(), "db", POD_IP)
}

fn echo(site: &Standalone) -> Result<Agent> {
    site.manager().agent(&site.program("tp-probe"), site.topology().cl(), "echo", NODE_IP)
}
