//! The dataplanes alone, from the app's socket to the daemon's, against loopback: measured by the daemon's own tests, because
//! nothing outside of it can leave the tunnel away. Both ends are in one process there, so its time on the processor is that
//! of the app, the dataplane and the far end together.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::metrics::{METRICS, of_cpu};
use super::run::Run;
use crate::sh;

pub(crate) const NAME: &str = "dataplane";
/// In this order: what the second one measures again, it measures beside VIPs.
const TESTS: [&str; 2] = ["measure_dataplanes::side_by_side", "measure::with_vips"];

/// Raw values of one target, as the tests print them if asked to.
#[derive(Debug, Deserialize)]
struct Line {
    what: String,
    target: String,
    unit: String,
    values: Vec<f64>,
}

/// The test program, which `cargo` builds as the invoking user.
pub(crate) fn build(profile: &str) -> Result<PathBuf> {
    let line = format!(
        "cargo test --quiet --no-run --profile {profile} -p tp-daemon --test dataplane --message-format=json"
    );
    let messages = sh::read(&mut sh::cmd(&line))?;
    let executable = |line: &str| -> Option<PathBuf> {
        let message: Value = serde_json::from_str(line).ok()?;
        let ours = message["target"]["name"] == "dataplane";
        ours.then(|| message["executable"].as_str().map(PathBuf::from))?
    };
    messages.lines().find_map(executable).context("cargo built no test of the dataplane")
}

pub(crate) fn measure(test: &Path, run: &mut Run) -> Result<()> {
    eprintln!("{NAME}");
    for name in TESTS {
        let mut command = sh::cmd(&format!("{} {name} --exact --ignored --nocapture", test.display()));
        take(&sh::read(command.env("TP_MEASURE_JSON", "1"))?, run);
    }
    Ok(())
}

/// The kernel's dataplane is measured twice: without a VIP in use, which is what most bars are for, and with some, for the
/// VIPs' own bar.
fn take(text: &str, run: &mut Run) {
    for line in text.lines() {
        // the first stands behind the name of the test
        let json = line.find("{\"what\"").map_or("", |at| &line[at..]);
        let Ok(Line { what, target, unit, values }) = serde_json::from_str(json) else { continue };
        let metric = match what.as_str() {
            "1 stream" => "upload-1",
            "8 streams" => "upload-8",
            "connect p50" => "connect-p50",
            known if METRICS.iter().any(|metric| metric.id == known) || of_cpu(known).is_some() => known,
            _ => continue,
        };
        let factor = if unit == "Gbit/s" { 1e9 / 8.0 } else { 1.0 };
        let first = subject(&target);
        let again = !run.values(NAME, &first, metric).is_empty();
        let subject = if again { format!("{first}-beside-vip") } else { first };
        values.iter().for_each(|value| run.add(NAME, &subject, metric, value * factor));
    }
}

fn subject(target: &str) -> String {
    match target {
        "v4" => "ebpf".to_owned(),
        "v6" => "ebpf-v6".to_owned(),
        "VIP v4" => "ebpf-vip".to_owned(),
        "VIP v6" => "ebpf-vip-v6".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_test_become_subjects() {
        let text = r#"
running 1 test
test measure_dataplanes::side_by_side ... {"what":"upload-1","target":"loopback","unit":"Gbit/s","values":[8.0, 16.0]}
upload-1, loopback: 12.00 Gbit/s (8.00-16.00)
{"what":"upload-1","target":"ebpf","unit":"Gbit/s","values":[8.0, 8.0]}
{"what":"upload-1/cpu/process","target":"ebpf","unit":"s/GB","values":[0.5, 0.5]}
{"what":"upload-1","target":"userspace-1500","unit":"Gbit/s","values":[4.0, 4.0]}
{"what":"connect-p50","target":"ebpf","unit":"us","values":[41.0]}
test measure::with_vips ... {"what":"1 stream","target":"v4","unit":"Gbit/s","values":[7.0, 7.0]}
{"what":"1 stream","target":"VIP v4","unit":"Gbit/s","values":[6.0, 6.0]}
{"what":"tomorrow","target":"v4","unit":"us","values":[1.0]}
"#;
        let mut run = Run::default();
        take(text, &mut run);
        assert_eq!(run.values(NAME, "loopback", "upload-1"), [1e9, 2e9]);
        assert_eq!(run.values(NAME, "ebpf", "upload-1"), [1e9, 1e9]);
        assert_eq!(run.values(NAME, "ebpf-beside-vip", "upload-1"), [7e9 / 8.0, 7e9 / 8.0]);
        assert_eq!(run.values(NAME, "ebpf-vip", "upload-1"), [0.75e9, 0.75e9]);
        assert_eq!(run.values(NAME, "ebpf", "connect-p50"), [41.0]);
        assert_eq!(run.values(NAME, "userspace-1500", "upload-1"), [0.5e9, 0.5e9]);
        assert_eq!(run.values(NAME, "ebpf", "upload-1/cpu/process"), [0.5, 0.5]);
        assert_eq!(run.series.len(), 7);
    }
}
