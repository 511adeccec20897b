//! Ten thousand connections open at once, and sixty-four opening at once for as long as it takes.
use anyhow::{Result, ensure};

use super::memory::Usage;
use super::talk::Talk;
use super::{Case, MIB, connected, server};
use crate::site::{Session, Site};
use crate::standalone::Standalone;

pub(super) const CASES: &[(&str, Case)] =
    &[("load_sixty_four_opening_at_once", opening), ("load_ten_thousand_connections_open", ten_thousand)];

const MANY: u64 = 10_000;
/// Twice what a build with optimisation is allowed.
const PER_CONNECTION: u64 = 2 * 40 * 1024;

fn ten_thousand(site: &Standalone) -> Result<()> {
    let before = connected(site)?;
    let mut app = Talk::start(site, &format!("hold {MANY} 64 {}:7776", server(site)))?;
    let opened = app.hear()?;
    let open = Usage::now(site)?;
    ensure!(opened["open"] == MANY, "{opened}");
    eprintln!("    before: {before}\n    {MANY} open: {open}");
    let flows = site.tp().status()?;
    ensure!(flows.to_string().contains(&MANY.to_string()), "the status does not count them: {flows}");
    open.within(&before, MANY * PER_CONNECTION, MANY * PER_CONNECTION)?;
    app.go_on()?;
    let again = app.hear()?;
    ensure!(again["again"] == MANY, "not all of them still work: {again}");
    before.descriptors_again(site)?;
    eprintln!("    closed: {}", Usage::now(site)?);
    before.given_back(site)
}

/// By hand for longer: `TP_LOAD_OPENING=60s`.
fn opening(site: &Standalone) -> Result<()> {
    let before = connected(site)?;
    let amount = std::env::var("TP_LOAD_OPENING").unwrap_or_else(|_| "6000".into());
    // connections that are closed keep their port for a minute
    for netns in [site.topology().ws(), site.topology().cl()] {
        netns.sysctl("net.ipv4.ip_local_port_range=1024 65535")?;
    }
    let to: Vec<String> = site.facts().servers.iter().map(|server| format!("{server}:7776")).collect();
    let done = site.app().probe(&format!("churn {amount} 64 {}", to.join(" ")))?;
    let after = Usage::now(site)?;
    eprintln!("    {done}\n    before: {before}\n    after: {after}");
    ensure!(done["good"] == done["made"], "{done}");
    ensure!(done["good"].as_u64() >= Some(64), "{done}");
    after.within(&before, 64 * MIB, 64 * MIB)?;
    before.descriptors_again(site)
}
