//! One measurement: `tp bench` as an app on the subject's workstation, and what the processes on the way spent meanwhile.
use std::io::Read;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::metrics::{Case, cpu};
use super::proc;
use super::programs::Programs;
use super::subjects::Subject;

/// Metrics and their values, and what went wrong on the way, if not all.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Measured {
    pub(crate) values: Vec<(String, f64)>,
    pub(crate) complaint: Option<String>,
}

/// A row as `tp bench` prints it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    case: String,
    streams: Option<u32>,
    at_once: Option<u32>,
    bytes_per_second: Option<f64>,
    per_second: Option<f64>,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    sent_per_second: Option<f64>,
    received_per_second: Option<f64>,
    failed: u64,
    error: Option<String>,
}

pub(crate) fn measure(programs: &Programs, subject: &Subject, case: Case, seconds: f64) -> Result<Measured> {
    let processes = subject.processes();
    let spent = || processes.iter().map(|(_, pid)| proc::seconds(*pid)).collect::<Result<Vec<_>>>();
    let before = spent()?;
    let (answer, app) = bench(programs, subject, case.name(), seconds)?;
    let after = spent()?;
    let mut measured = Measured::default();
    for row in rows(&answer)? {
        measured.values.extend(row.values());
        if row.failed > 0 {
            let error = row.error.clone().unwrap_or_default();
            measured.complaint = Some(format!("{} of them failed: {error}", row.failed));
        }
    }
    if let (true, Some((metric, rate))) = (case.is_throughput(), measured.values.first().cloned()) {
        let gigabytes = rate * seconds / 1e9;
        let mut roles: Vec<(&str, f64)> = vec![("app", app)];
        let deltas = processes.iter().zip(before.iter().zip(&after));
        roles.extend(deltas.map(|((role, _), (before, after))| (*role, after - before)));
        let all = roles.iter().map(|(_, seconds)| seconds).sum();
        roles.push(("all", all));
        measured.values.extend(roles.iter().map(|(role, spent)| (cpu(&metric, role), spent / gigabytes)));
    }
    Ok(measured)
}

/// The answer, and the seconds that the program itself spent.
pub(crate) fn bench(
    programs: &Programs,
    subject: &Subject,
    case: &str,
    seconds: f64,
) -> Result<(Value, f64)> {
    let mut words: Vec<String> =
        [&programs.word("tp"), "bench", "--output", "json", "--case", case].map(str::to_owned).to_vec();
    words.extend(["--seconds".into(), seconds.to_string(), "--sink".into(), subject.target.clone()]);
    if let ("dns", Some(name)) = (case, &subject.dns) {
        words.extend(["--name".into(), name.clone()]);
    }
    let mut command = subject.place.command(&words);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot start tp bench")?;
    let (mut text, mut said) = (String::new(), String::new());
    child.stdout.take().context("standard output is piped")?.read_to_string(&mut text)?;
    child.stderr.take().context("standard error is piped")?.read_to_string(&mut said)?;
    while !proc::has_ended(child.id()) {
        sleep(Duration::from_millis(1));
    }
    let spent = proc::seconds(child.id()).unwrap_or(0.0);
    let status = child.wait()?;
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    if let Some(failed) = answer["failed"].as_array().and_then(|failed| failed.first()) {
        bail!("{}", failed["error"].as_str().unwrap_or("failed"));
    }
    if !status.success() {
        bail!("tp bench: {}", said.trim());
    }
    Ok((answer, spent))
}

fn rows(answer: &Value) -> Result<Vec<Row>> {
    let rows: Vec<Row> =
        serde_json::from_value(answer["results"].clone()).context("tp bench gave no rows")?;
    if rows.is_empty() {
        bail!("tp bench gave no rows");
    }
    Ok(rows)
}

impl Row {
    fn values(&self) -> Vec<(String, f64)> {
        let Self { case, p50_us, p99_us, .. } = self;
        let given: Vec<(String, Option<f64>)> = match case.as_str() {
            "upload" | "download" => {
                vec![(format!("{case}-{}", self.streams.unwrap_or(1)), self.bytes_per_second)]
            }
            "round_trip" => vec![("round-trip-p50".into(), *p50_us), ("round-trip-p99".into(), *p99_us)],
            "connect" => {
                let name = format!("connect-{}", self.at_once.unwrap_or(1));
                vec![(name.clone(), self.per_second), (format!("{name}-p99"), *p99_us)]
            }
            "udp_round_trip" => {
                vec![("udp-round-trip-p50".into(), *p50_us), ("udp-round-trip-p99".into(), *p99_us)]
            }
            "udp_packets" => vec![
                ("udp-received".into(), self.received_per_second),
                ("udp-sent".into(), self.sent_per_second),
            ],
            "dns" => vec![
                ("dns".into(), self.per_second),
                ("dns-p50".into(), *p50_us),
                ("dns-p99".into(), *p99_us),
            ],
            _ => Vec::new(),
        };
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::metrics::METRICS;
    use super::*;

    #[test]
    fn rows_of_tp_bench_become_known_metrics() {
        let answer = json!({"target": "10.0.0.1:9", "results": [
            {"case": "upload", "streams": 1, "bytes_per_second": 1.5e9},
            {"case": "download", "streams": 8, "bytes_per_second": 2.5e9},
            {"case": "round_trip", "p50_us": 50.5, "p99_us": 90, "count": 7},
            {"case": "connect", "at_once": 64, "per_second": 2000, "p50_us": 400, "p99_us": 900, "failed": 0},
            {"case": "udp_round_trip", "p50_us": 60, "p99_us": 99, "count": 1, "lost": 0},
            {"case": "udp_packets", "sent_per_second": 9e5, "received_per_second": 8e5, "lost": 5},
            {"case": "dns", "at_once": 8, "per_second": 5000, "p50_us": 100, "p99_us": 300, "failed": 0},
            {"case": "of_tomorrow", "p50_us": 1},
        ]});
        let values: Vec<(String, f64)> = rows(&answer).unwrap().iter().flat_map(Row::values).collect();
        let named: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
        let wanted = [
            "upload-1",
            "download-8",
            "round-trip-p50",
            "round-trip-p99",
            "connect-64",
            "connect-64-p99",
            "udp-round-trip-p50",
            "udp-round-trip-p99",
            "udp-received",
            "udp-sent",
            "dns",
            "dns-p50",
            "dns-p99",
        ];
        assert_eq!(named, wanted);
        assert!(named.iter().all(|name| METRICS.iter().any(|metric| metric.id == *name)));
        assert_eq!(values[0].1, 1.5e9);
    }

    #[test]
    fn an_answer_without_rows_is_an_error() {
        for answer in [json!({"results": []}), json!({}), json!(null), json!({"results": [{"case": 5}]})] {
            assert!(rows(&answer).is_err(), "{answer}");
        }
    }
}
