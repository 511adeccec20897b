//! Which dataplane serves, and what is said about it.
use anyhow::{Result, ensure};
use serde_json::Value;

use super::{OwnCase, as_before, look, reached};
use crate::place::Done;
use crate::site::{Session, Site};
use crate::standalone::Standalone;

pub(super) const CASES: &[(&str, OwnCase)] = &[
    ("dataplane_is_ebpf_where_it_can_be", ebpf_first),
    ("dataplane_without_the_kernels_leave", without_leave),
    ("dataplane_of_the_other_kind_while_connected", other_kind),
    ("dataplane_for_comparison_says_so", for_comparison),
];

/// As root of a container that may set networks up, and nothing else.
const CONTAINER: [&str; 3] = ["setpriv", "--bounding-set", "-sys_admin,-bpf,-perfmon"];

fn connect(site: &Standalone, before: &[&str], flags: &[&str]) -> Result<Done> {
    let mut words: Vec<String> = before.iter().map(ToString::to_string).collect();
    words.extend(site.tp().words(&["connect", "--manager", site.join()]));
    words.extend(flags.iter().map(ToString::to_string));
    site.app().run(&words)
}

fn network(site: &Standalone) -> Result<Value> {
    Ok(site.tp().status()?["network"].clone())
}

fn ebpf_first(site: &Standalone) -> Result<()> {
    connect(site, &[], &[])?.success()?;
    let network = network(site)?;
    ensure!(network["dataplane"] == "ebpf" && network["dataplane_reason"].is_null(), "{network}");
    Ok(())
}

fn without_leave(site: &Standalone) -> Result<()> {
    let before = look(site)?;
    let said = connect(site, &CONTAINER, &["--dataplane", "ebpf"])?.failure(1)?;
    ensure!(said.contains("not permitted") && said.contains("hint:"), "{said}");
    as_before(site, &before)?;

    connect(site, &CONTAINER, &[])?.success()?;
    let status = site.tp().status()?;
    let network = &status["network"];
    let reason = network["dataplane_reason"].as_str().unwrap_or_default();
    ensure!(network["dataplane"] == "userspace" && reason.contains("not permitted"), "{network}");
    ensure!(status["notes"].to_string().contains("systemd-resolved"), "nothing is said of names: {status}");
    let text = site.tp().run(&["status"])?.success()?;
    ensure!(text.contains(reason), "{text}");
    reached(site)?;
    for server in &site.facts().servers {
        let done = site.app().probe(&format!("udp {server}:7777 100 3"))?;
        ensure!(done["received"] == 3 || done["good"] == 3, "{server}: {done}");
    }
    site.tp().quit()?;
    as_before(site, &before)
}

fn other_kind(site: &Standalone) -> Result<()> {
    for (one, other) in [("ebpf", "userspace"), ("userspace", "ebpf")] {
        connect(site, &[], &["--dataplane", one])?.success()?;
        let said = connect(site, &[], &["--dataplane", other])?.failure(1)?;
        ensure!(said.contains(one) && said.contains(other) && said.contains("tp quit"), "{said}");
        connect(site, &[], &["--dataplane", one])?.success()?;
        connect(site, &[], &[])?.success()?;
        ensure!(network(site)?["dataplane"] == *one, "{}", network(site)?);
        reached(site)?;
        site.tp().quit()?;
        site.tp().wait_gone()?;
    }
    Ok(())
}

fn for_comparison(site: &Standalone) -> Result<()> {
    connect(site, &[], &["--dataplane", "userspace-1500"])?.success()?;
    let network = network(site)?;
    let reason = network["dataplane_reason"].as_str().unwrap_or_default();
    ensure!(network["dataplane"] == "userspace" && reason.contains("without offloads"), "{network}");
    reached(site)?;
    let said = connect(site, &[], &["--dataplane", "userspace"])?.failure(1)?;
    ensure!(said.contains("userspace-1500") && said.contains("tp quit"), "{said}");
    let help = site.tp().run(&["connect", "--help"])?.success()?;
    ensure!(!help.contains("1500"), "{help}");
    Ok(())
}
