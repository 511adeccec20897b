//! The dataplane alone, from the app's socket to the daemon's, against loopback: measured by the daemon's own tests, because
//! nothing outside of it can leave the tunnel away.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::run::Run;
use crate::sh;

pub(crate) const NAME: &str = "dataplane";
const TEST: &str = "measure::against_loopback";

/// Raw values of one target, as the test prints them if asked to.
#[derive(Debug, Deserialize)]
struct Line {
    what: String,
    target: String,
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
    let mut command = sh::cmd(&format!("{} {TEST} --exact --ignored --nocapture", test.display()));
    let text = sh::read(command.env("TP_MEASURE_JSON", "1"))?;
    take(&text, run);
    Ok(())
}

/// Everything is measured twice: without a VIP in use, which is what the bars are for, and with some, for the VIPs' own bar.
fn take(text: &str, run: &mut Run) {
    for line in text.lines() {
        // the first stands behind the name of the test
        let json = line.find("{\"what\"").map_or("", |at| &line[at..]);
        let Ok(Line { what, target, values }) = serde_json::from_str(json) else { continue };
        let (metric, factor) = match what.as_str() {
            "1 stream" => ("upload-1", 1e9 / 8.0),
            "8 streams" => ("upload-8", 1e9 / 8.0),
            "connect p50" => ("connect-p50", 1.0),
            _ => continue,
        };
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
test measure::against_loopback ... {"what":"1 stream","target":"loopback","unit":"Gbit/s","values":[8.0, 16.0]}
1 stream, loopback: 12.0 Gbit/s (8.0-16.0), 1.00 x loopback
{"what":"1 stream","target":"v4","unit":"Gbit/s","values":[8.0, 8.0]}
{"what":"connect p50","target":"v4","unit":"us","values":[41.0]}
{"what":"1 stream","target":"v4","unit":"Gbit/s","values":[7.0, 7.0]}
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
        assert_eq!(run.series.len(), 5);
    }
}
