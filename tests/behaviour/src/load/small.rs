//! Small requests and names while others move as much as they can.
use std::process::Stdio;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Case, connected, server};
use crate::process::Guard;
use crate::site::Site;
use crate::standalone::Standalone;

pub(super) const CASES: &[(&str, Case)] = &[("load_small_requests_beside_bulk", beside_bulk)];

/// Each lookup is of another name below it: none is answered from a cache.
const NAME: &str = "many.default.svc.cluster.local";
/// More than eight of them could move meanwhile.
const ENDLESS: u64 = 1 << 50;

fn beside_bulk(site: &Standalone) -> Result<()> {
    connected(site)?;
    let idle = small(site)?;
    let mut bulk = Vec::new();
    for number in 0..8 {
        let verb = if number % 2 == 0 { "download" } else { "upload" };
        let mut command =
            site.app().probe_command(&[verb, server(site), &ENDLESS.to_string(), &number.to_string()]);
        command.stdout(Stdio::null());
        bulk.push(Guard::spawn(command)?);
    }
    let busy = small(site)?;
    for mover in &mut bulk {
        ensure!(mover.runs()?, "a bulk transfer ended meanwhile");
    }
    drop(bulk);
    eprintln!("    idle: {}\n    beside 8 that move bulk: {}", shown(&idle), shown(&busy));
    Ok(())
}

fn small(site: &Standalone) -> Result<[Value; 2]> {
    let requests = site.app().probe(&format!("small {}:7776 100", server(site)))?;
    ensure!(requests["good"] == 100, "{requests}");
    let names = site.app().probe(&format!("lookups {NAME} 50"))?;
    ensure!(names["good"] == 50, "{names}");
    Ok([requests, names])
}

fn shown([requests, names]: &[Value; 2]) -> String {
    let [connect, trip, lookup] = [&requests["connect_us"], &requests["round_trip_us"], &names["lookup_us"]];
    format!("connect and a byte {connect} us, round trip {trip} us, name {lookup} us (medians)")
}
