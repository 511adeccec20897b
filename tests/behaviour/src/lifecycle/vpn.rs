//! Workstations with a VPN, in the ways in which VPNs make routes: one plain `tp connect`, everything of the cluster in
//! reach, and everything of the VPN too.
mod conflicts;
mod others;
mod policies;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{OwnCase, as_before, look};
use crate::netns::Netns;
use crate::process::{Guard, eventually};
use crate::site::{Session, Site};
use crate::standalone::Standalone;

/// A server of the cluster with IPv4 alone, and its address, which the office has too.
const NAME: &str = "db-0.db.default.svc.cluster.local";
const ADDRESS: &str = "10.55.1.2";
/// How long a change of routes may take to be noticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn cases() -> Vec<(&'static str, OwnCase)> {
    [conflicts::CASES, others::CASES, policies::CASES].concat()
}

/// A VPN's device on the workstation, and the office behind it. Gone when dropped.
///
/// ```text
/// ws  DEVICE 10.8.0.2 <---> ws0 10.8.0.1  office: 10.200.0.1, 203.0.113.5, and 10.55.0.10, 10.55.1.2, 10.55.77.1
/// ```
/// The first two of its 10.55 addresses are servers of the cluster too; the last is in nobody's subnet there.
struct Vpn<'a> {
    ws: &'a Netns,
    device: &'static str,
    undo: Vec<String>,
    // the server before its namespace
    _server: Guard,
    office: Netns,
}

const OFFICE: [&str; 5] = ["10.200.0.1", "203.0.113.5", "10.55.0.10", "10.55.1.2", "10.55.77.1"];

impl<'a> Vpn<'a> {
    fn new(site: &'a Standalone, device: &'static str) -> Result<Self> {
        let (ws, office) = (site.topology().ws(), Netns::new("office")?);
        ws.veth(device, &office, "ws0")?;
        ws.ip(&format!("addr add 10.8.0.2/24 dev {device}"))?;
        office.ip("addr add 10.8.0.1/24 dev ws0")?;
        for address in OFFICE {
            office.ip(&format!("addr add {address}/32 dev lo"))?;
        }
        office.ip("route add default via 10.8.0.2")?;
        let mut command = office.enter();
        command.arg(site.program("tp-probe")).args(["serve", "office"]);
        let server = Guard::spawn_ready(command)?.0;
        Ok(Self { ws, device, undo: Vec::new(), _server: server, office })
    }

    /// Routes these networks into the VPN.
    fn route(&self, networks: &[&str]) -> Result<()> {
        networks.iter().try_for_each(|network| self.route_in("main", network))
    }

    fn route_in(&self, table: &str, network: &str) -> Result<()> {
        self.ws.ip(&format!("route add {network} via 10.8.0.1 dev {} table {table}", self.device))
    }

    /// `ip rule add WORDS`, undone at the end.
    fn rule(&mut self, words: &str) -> Result<()> {
        self.ws.ip(&format!("rule add {words}"))?;
        self.undo.push(format!("rule del {words}"));
        Ok(())
    }
}

impl Drop for Vpn<'_> {
    fn drop(&mut self) {
        for words in &self.undo {
            let _ = self.ws.ip(words);
        }
        let _ = self.ws.ip(&format!("link del {}", self.device));
    }
}

/// Connects, tries, quits; the machine's own routes and rules are there all the time, and the only ones afterwards.
fn connected(site: &Standalone, words: &[&str], case: impl FnOnce(&str) -> Result<()>) -> Result<()> {
    let before = look(site)?;
    let done = site.tp().connect(words)?;
    let said = done.stderr.clone();
    done.success()?;
    case(&said)?;
    let difference = before.difference(&look(site)?);
    ensure!(!difference.contains(": lost "), "while connected:\n{difference}");
    ensure!(!difference.contains("rule show"), "a rule of ours:\n{difference}");
    for line in difference.lines().filter(|line| line.contains("route show")) {
        ensure!(line.contains("dev tp0") || line.contains("dev tpv"), "not a route of ours: {line}");
    }
    site.tp().quit()?;
    as_before(site, &before)
}

/// The server of that name answers there; what the app is connected to.
fn answers(site: &Standalone, host: &str, server: &str) -> Result<String> {
    let url = format!("http://{host}:8080");
    let text = site.app().succeed(&["curl", "-sS", "--max-time", "10", "-w", "\n%{remote_ip}", &url])?;
    let (answer, peer) = text.rsplit_once('\n').with_context(|| format!("{host}: {text}"))?;
    let answer: Value = serde_json::from_str(answer)?;
    ensure!(answer["name"] == server, "{host} is {} at {peer}, not {server}", answer["name"]);
    Ok(peer.trim().to_owned())
}

fn is_virtual(peer: &str) -> bool {
    peer.starts_with("246.246.")
}

/// By name through a virtual address, and the office's own host by the very address.
fn both_in_reach(site: &Standalone) -> Result<()> {
    let peer = answers(site, NAME, "db-0")?;
    ensure!(is_virtual(&peer), "no virtual address: {peer}");
    answers(site, ADDRESS, "office").map(drop)
}

fn with_config(site: &Standalone, config: &str, case: impl FnOnce() -> Result<()>) -> Result<()> {
    let dir = site.dir().join(".config/tp");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("config.yml"), config)?;
    let result = case();
    fs::remove_file(dir.join("config.yml"))?;
    result
}
