//! `tp bench` on a connection that stands. How fast it is, is not this suite's matter.
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::OwnCase;
use crate::process::eventually;
use crate::site::{Session, Site};
use crate::standalone::Standalone;

pub(super) const CASES: &[(&str, OwnCase)] = &[
    ("bench_measures_every_case_and_leaves_no_sink", every_case),
    ("bench_of_any_server_only_connects", any_server),
    ("bench_without_a_connection_says_how_to_get_one", not_connected),
];

/// The manager has no longer to be rid of a sink whose session has ended.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

const ROWS: [&str; 11] = [
    "upload",
    "upload",
    "download",
    "download",
    "round_trip",
    "connect",
    "connect",
    "udp_round_trip",
    "udp_packets",
    "dns",
    "idle",
];

fn every_case(site: &Standalone) -> Result<()> {
    site.tp().connect(&[])?.success()?;
    let text = site.tp().run(&["bench", "--output", "json", "--seconds", "0.5"])?.success()?;
    let mut told: Value = serde_json::from_str(&text)?;
    let idle = ["bench", "--output", "json", "--seconds", "0.3", "--case", "idle=300"];
    let idle: Value = serde_json::from_str(&site.tp().run(&idle)?.success()?)?;
    ensure!(idle["target"] == told["target"], "another sink: {idle}, {told}");
    let mut rows = told["results"].take().as_array().cloned().context("no results")?;
    rows.extend(idle["results"].as_array().cloned().context("no results")?);
    let cases: Vec<&str> = rows.iter().filter_map(|row| row["case"].as_str()).collect();
    ensure!(cases == ROWS, "not every case: {cases:?}");
    for row in &rows {
        for (name, value) in row.as_object().context("a row")? {
            match (name.as_str(), value.as_f64()) {
                ("failed", failed) => ensure!(failed == Some(0.0), "{row}"),
                // a datagram may be lost on a busy machine
                ("lost", lost) => ensure!(lost.is_some(), "{row}"),
                (_, Some(value)) => ensure!(value > 0.0, "{name} is nothing: {row}"),
                ("case", None) => {}
                (other, None) => anyhow::bail!("{other} is no number: {row}"),
            }
        }
    }
    let connection = &told["connection"];
    ensure!(connection["way"] == "direct" && connection["dataplane"].is_string(), "{connection}");
    let port = told["target"].as_str().and_then(|target| target.rsplit_once(':')).context("no target")?.1;
    let port: u16 = port.parse()?;
    ensure!(listens(site, port)?, "the sink is not where we look for it");
    site.tp().quit()?;
    eventually(CLOSED_WITHIN, || {
        ensure!(!listens(site, port)?, "the manager still listens on {port}");
        Ok(())
    })
}

/// Whether something listens on this port of the node.
fn listens(site: &Standalone, port: u16) -> Result<bool> {
    let table = site.node().succeed(&["cat", "/proc/net/tcp"])?;
    let port = format!(":{port:04X}");
    let listens = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (own, state) = (words.next(), words.nth(1));
        own.is_some_and(|own| own.ends_with(&port)) && state == Some("0A")
    };
    Ok(table.lines().any(listens))
}

fn any_server(site: &Standalone) -> Result<()> {
    site.tp().connect(&[])?.success()?;
    let server = format!("{}:8080", site.facts().servers[0]);
    let bench = ["bench", "--address", &server, "--output", "json", "--seconds", "0.3"];
    let told: Value = serde_json::from_str(&site.tp().run(&bench)?.success()?)?;
    let rows = told["results"].as_array().context("no results")?;
    ensure!(rows.len() == 2 && rows.iter().all(|row| row["case"] == "connect"), "{told}");
    ensure!(rows.iter().all(|row| row["per_second"].as_f64() > Some(0.0)), "{told}");
    let closed = format!("{}:9", site.facts().servers[0]);
    let done = site.tp().run(&["bench", "--address", &closed, "--seconds", "0.3"])?;
    ensure!(done.code == Some(1) && done.stdout.contains("refused"), "{done:?}");
    Ok(())
}

fn not_connected(site: &Standalone) -> Result<()> {
    let done = site.tp().run(&["bench"])?;
    ensure!(done.code == Some(1) && done.stdout.is_empty(), "{done:?}");
    ensure!(done.stderr.contains("hint: connect first: sudo tp connect"), "{done:?}");
    Ok(())
}
