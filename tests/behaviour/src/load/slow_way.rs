//! A way to the cluster that is slower than either end, as a laptop's is: what waits for it waits where a small message can overtake.
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::talk::Talk;
use super::{Case, connected, server};
use crate::netns::Netns;
use crate::process::Guard;
use crate::site::Site;
use crate::standalone::Standalone;

pub(super) const CASES: &[(&str, Case)] = &[
    ("load_bulk_up_a_slow_way", |site| beside_bulk(site, "upload")),
    ("load_bulk_down_a_slow_way", |site| beside_bulk(site, "download")),
];

/// Connections that were there before the bulk.
const OLD: u64 = 16;
/// More than moves meanwhile.
const ENDLESS: u64 = 1 << 50;
/// Of bytes that a socket holds and has not sent. A kernel left to itself lets some megabytes gather.
const MOST: u64 = 512 << 10;
/// The network of both ends of the slow way. What the app's own sockets hold is not ours.
const BETWEEN: &str = "192.0.2.0/24";
/// How often it is looked.
const LOOKS: u32 = 20;

fn beside_bulk(site: &Standalone, verb: &str) -> Result<()> {
    connected(site)?;
    let topology = site.topology();
    let Some(_slow) = Slow::both(topology.ws(), topology.cl())? else { return Ok(()) };
    let mut old = Talk::start(site, &format!("hold {OLD} {OLD} {}:7776", server(site)))?;
    ensure!(old.hear()?["open"] == OLD, "not all of them are open");
    let mut command = site.app().probe_command(&[verb, server(site), &ENDLESS.to_string(), "5"]);
    command.stdout(Stdio::null());
    let mut bulk = Guard::spawn(command)?;
    let sender = if verb == "upload" { topology.ws() } else { topology.cl() };
    let mut most = 0;
    for _ in 0..LOOKS {
        thread::sleep(Duration::from_millis(50));
        most = most.max(unsent(sender)?);
    }
    let start = Instant::now();
    old.go_on()?;
    let again = old.hear()?;
    eprintln!("    {OLD} older connections answered after {:?}; unsent {} KiB", start.elapsed(), most >> 10);
    ensure!(again["again"] == OLD, "not all of them still work: {again}");
    ensure!(bulk.runs()?, "the bulk transfer ended meanwhile");
    ensure!(most > 0, "the way is not slow: nothing ever waited");
    ensure!(most <= MOST, "{most} bytes wait in a socket, where nothing overtakes them");
    Ok(())
}

/// The most that any TCP socket between the two machines holds and has not sent, in bytes.
fn unsent(netns: &Netns) -> Result<u64> {
    let output = netns.enter().args(["ss", "-tinH", "src", BETWEEN]).output()?;
    ensure!(output.status.success(), "ss: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).context("ss does not write UTF-8")?;
    let told = text.split_whitespace().filter_map(|word| word.strip_prefix("notsent:"));
    Ok(told.filter_map(|bytes| bytes.parse().ok()).max().unwrap_or(0))
}

/// 50 Mbit/s each way between two namespaces, for as long as it lives.
#[derive(Debug)]
struct Slow<'a>([(&'a Netns, &'static str); 2]);

impl<'a> Slow<'a> {
    /// `None` where the kernel has no such queue.
    fn both(ws: &'a Netns, cl: &'a Netns) -> Result<Option<Self>> {
        let slow = Self([(ws, "eth0"), (cl, "lan0")]);
        for (netns, device) in slow.0 {
            let words =
                ["add", "dev", device, "root", "tbf", "rate", "50mbit", "burst", "64k", "latency", "30ms"];
            let output = netns.enter().args(["tc", "qdisc"]).args(words).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            if said.contains("qdisc kind is unknown") {
                eprintln!("    skipped: this kernel has no token bucket (sch_tbf)");
                return Ok(None);
            }
            ensure!(output.status.success(), "tc: {said}");
        }
        Ok(Some(slow))
    }
}

impl Drop for Slow<'_> {
    fn drop(&mut self) {
        for (netns, device) in self.0 {
            let _ = netns.enter().args(["tc", "qdisc", "del", "dev", device, "root"]).output();
        }
    }
}
