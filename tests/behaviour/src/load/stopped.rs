//! A manager that stops reading: the daemon keeps a bounded amount, apps are held back, and nothing is lost.
use anyhow::{Result, ensure};

use super::memory::Usage;
use super::talk::Talk;
use super::{Case, MIB, connected, server};
use crate::site::Session;
use crate::standalone::Standalone;

pub(super) const CASES: &[(&str, Case)] =
    &[("load_a_manager_that_stops_reading", tcp), ("load_datagrams_for_a_manager_that_stops_reading", udp)];

/// What HTTP/2 takes of a flow, and what lies between it and the socket.
const PER_FLOW: u64 = 2 * MIB;
const SLACK: u64 = 48 * MIB;

fn tcp(site: &Standalone) -> Result<()> {
    const APPS: u64 = 20;
    const EACH: u64 = 16 * MIB;
    let before = connected(site)?;
    let mut apps = Talk::start(site, &format!("uploads {} {APPS} {EACH}", server(site)))?;
    apps.hear()?;
    {
        let _stopped = Stopped::now(site)?;
        apps.go_on()?;
        let sent = apps.hear()?;
        let now = Usage::now(site)?;
        eprintln!(
            "    {APPS} apps could send {} MiB\n    before: {before}\n    stopped: {now}",
            sent["sent"].as_u64().unwrap_or(0) / MIB
        );
        ensure!(sent["sent"].as_u64() < Some(APPS * EACH), "nothing held them back: {sent}");
        now.within(&before, APPS * PER_FLOW + SLACK, SLACK)?;
    }
    apps.go_on()?;
    let done = apps.hear()?;
    ensure!(done["good"] == APPS, "{done}");
    before.descriptors_again(site)
}

fn udp(site: &Standalone) -> Result<()> {
    const FLOWS: u64 = 20;
    let before = connected(site)?;
    let mut flood = Talk::start(site, &format!("udp-flood {}:7777 {FLOWS} 10000", server(site)))?;
    flood.hear()?;
    {
        let _stopped = Stopped::now(site)?;
        flood.go_on()?;
        let sent = flood.hear()?;
        let now = Usage::now(site)?;
        eprintln!("    {sent}\n    before: {before}\n    stopped: {now}");
        now.within(&before, FLOWS * PER_FLOW + SLACK, SLACK)?;
    }
    flood.go_on()?;
    let done = flood.hear()?;
    ensure!(done["good"] == FLOWS, "flows do not work after it: {done}");
    Ok(())
}

/// The manager this test started does not run.
struct Stopped<'a>(&'a Standalone);

impl<'a> Stopped<'a> {
    fn now(site: &'a Standalone) -> Result<Self> {
        site.tp().signal(site.manager().pid(), "STOP")?;
        Ok(Self(site))
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let _ = self.0.tp().signal(self.0.manager().pid(), "CONT");
    }
}
