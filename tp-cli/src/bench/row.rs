//! What `tp bench` prints: fields for programs, which stay as they are, and a table for people.

use serde::Serialize;

use super::target::{Connection, Target};
use crate::output::{fields, table};

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct View {
    target: String,
    /// When it was measured against the connected manager's sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<Connection>,
    results: Vec<Row>,
    /// What could not be measured.
    pub failed: Vec<Failed>,
}

/// Durations are in microseconds.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "case", rename_all = "snake_case")]
pub enum Row {
    Upload {
        streams: usize,
        bytes_per_second: f64,
    },
    Download {
        streams: usize,
        bytes_per_second: f64,
    },
    RoundTrip {
        p50_us: f64,
        p99_us: f64,
        count: usize,
    },
    Connect {
        at_once: usize,
        per_second: f64,
        p50_us: f64,
        p99_us: f64,
        failed: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    UdpRoundTrip {
        p50_us: f64,
        p99_us: f64,
        count: usize,
        lost: usize,
    },
    UdpPackets {
        sent_per_second: f64,
        received_per_second: f64,
        lost: u64,
    },
    Dns {
        at_once: usize,
        per_second: f64,
        p50_us: f64,
        p99_us: f64,
        failed: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    Idle {
        connections: usize,
        opened: usize,
        /// Not opened, or without an answer in the end.
        failed: usize,
        open_seconds: f64,
        /// How long they were held.
        seconds: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Failed {
    pub case: String,
    pub error: String,
}

impl View {
    pub(super) fn new(target: Target, results: Vec<Row>, failed: Vec<Failed>) -> Self {
        Self { target: target.shown, connection: target.connection, results, failed }
    }

    pub(super) fn text(&self) -> String {
        let all = match &self.connection {
            None => vec![("Target", self.target.clone())],
            Some(connection) => {
                let target = ("Target", format!("{}, the manager's own sink", self.target));
                [vec![target], connection.fields()].concat()
            }
        };
        let mut text = fields(&all);
        if !self.results.is_empty() {
            let header = ["CASE", "RATE", "P50", "P99", "REMARK"].map(str::to_owned).to_vec();
            let rows = self.results.iter().map(|row| row.cells().to_vec()).collect();
            text.push('\n');
            text.push_str(&table(header, rows));
            text.push('\n');
        }
        for failed in &self.failed {
            text.push_str(&format!("\n{} failed: {}\n", failed.case, failed.error));
        }
        text
    }
}

impl Row {
    fn cells(&self) -> [String; 5] {
        match self {
            Self::Upload { streams, bytes_per_second } => {
                [many("upload", *streams, "streams"), speed(*bytes_per_second), none(), none(), none()]
            }
            Self::Download { streams, bytes_per_second } => {
                [many("download", *streams, "streams"), speed(*bytes_per_second), none(), none(), none()]
            }
            Self::RoundTrip { p50_us, p99_us, .. } => {
                ["round trip".to_owned(), none(), time(*p50_us), time(*p99_us), none()]
            }
            Self::Connect { at_once, per_second, p50_us, p99_us, failed, error } => [
                many("connect", *at_once, "at once"),
                rate(*per_second),
                time(*p50_us),
                time(*p99_us),
                failures(*failed, error.as_deref()),
            ],
            Self::UdpRoundTrip { p50_us, p99_us, lost, .. } => {
                ["UDP round trip".to_owned(), none(), time(*p50_us), time(*p99_us), losses(*lost as u64)]
            }
            Self::UdpPackets { received_per_second, lost, .. } => {
                ["UDP packets".to_owned(), rate(*received_per_second), none(), none(), losses(*lost)]
            }
            Self::Dns { at_once, per_second, p50_us, p99_us, failed, error } => [
                many("DNS lookups", *at_once, "at once"),
                rate(*per_second),
                time(*p50_us),
                time(*p99_us),
                failures(*failed, error.as_deref()),
            ],
            Self::Idle { connections, opened, failed, open_seconds, seconds, error } => {
                let held = format!("{opened} open after {open_seconds:.1} s, held for {seconds} s");
                let failures = failures(*failed, error.as_deref());
                let remark = if failures.is_empty() { held } else { format!("{held}; {failures}") };
                let rate = rate(*opened as f64 / open_seconds.max(1e-6));
                [format!("idle, {connections} connections"), rate, none(), none(), remark]
            }
        }
    }
}

fn none() -> String {
    String::new()
}

fn many(name: &str, count: usize, of: &str) -> String {
    if count == 1 { name.to_owned() } else { format!("{name}, {count} {of}") }
}

fn speed(bytes_per_second: f64) -> String {
    let bits = bytes_per_second * 8.0;
    if bits >= 1e9 { format!("{:.2} Gbit/s", bits / 1e9) } else { format!("{:.1} Mbit/s", bits / 1e6) }
}

fn rate(per_second: f64) -> String {
    if per_second >= 100.0 { format!("{per_second:.0}/s") } else { format!("{per_second:.1}/s") }
}

fn time(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

fn losses(lost: u64) -> String {
    if lost == 0 { none() } else { format!("{lost} lost") }
}

fn failures(failed: usize, error: Option<&str>) -> String {
    match (failed, error) {
        (0, _) => none(),
        (failed, None) => format!("{failed} failed"),
        (failed, Some(error)) => format!("{failed} failed: {error}"),
    }
}

#[cfg(test)]
mod tests;
