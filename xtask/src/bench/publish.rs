//! The committed latest: docs/bench, and the summary between README's markers.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::bars::{Standing, Verdict, judge};
use super::metrics::METRICS;
use super::run::Run;
use super::{report, table};

pub(super) const BEGIN: &str = "<!-- bench: written by `cargo xtask bench --publish` -->";
pub(super) const END: &str = "<!-- bench: end -->";
/// Rows of README's tables.
const SUMMARY: [&str; 9] = [
    "upload-1",
    "download-1",
    "upload-8",
    "download-8",
    "round-trip-p50",
    "connect-1",
    "connect-64",
    "udp-round-trip-p50",
    "dns",
];

pub(crate) fn publish(run: &Run, root: &Path) -> Result<()> {
    let dir = root.join("docs/bench");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("latest.json"), serde_json::to_string_pretty(run)? + "\n")?;
    fs::write(dir.join("latest.html"), report::html(run))?;
    fs::write(dir.join("latest.svg"), report::overview(run))?;
    let readme = root.join("README.md");
    let text = fs::read_to_string(&readme).context("cannot read README.md")?;
    fs::write(&readme, between(&text, &summary(run))?)?;
    eprintln!("published: docs/bench/latest.json, latest.html, latest.svg, README.md");
    Ok(())
}

/// The text with `new` between the markers.
fn between(text: &str, new: &str) -> Result<String> {
    let (before, rest) = text.split_once(BEGIN).context("README.md has lost the marker of the benchmark")?;
    let (_, after) = rest.split_once(END).context("README.md has lost the end marker of the benchmark")?;
    Ok(format!("{before}{BEGIN}\n\n{new}\n{END}{after}"))
}

pub(super) fn summary(run: &Run) -> String {
    let how = &run.how;
    let mut out = format!(
        "Medians of {} rounds on {}; absolute figures are this machine's, ratios travel better.\n",
        how.rounds,
        run.machine.shown()
    );
    for setting in table::settings(run).iter().filter(|setting| *setting != "dataplane") {
        let subjects = table::subjects(run, setting);
        let header = std::iter::once(String::new()).chain(subjects.iter().cloned()).collect();
        let mut rows = vec![header];
        for metric in METRICS.iter().filter(|metric| SUMMARY.contains(&metric.id)) {
            let cells: Vec<String> =
                subjects.iter().map(|s| table::cell(metric, run.spread(setting, s, metric.id))).collect();
            if cells.iter().any(|cell| !cell.is_empty()) {
                let title = format!("{}, {}", metric.title, metric.unit.name());
                rows.push(std::iter::once(title).chain(cells).collect());
            }
        }
        out.push_str(&format!("\n{}:\n\n{}", table::describe(setting), table::markdown(&rows)));
    }
    out.push_str(&format!("\n{}", bars(&judge(run))));
    out
}

/// How many are met, and which are not.
fn bars(verdicts: &[Verdict]) -> String {
    let of = |standing| {
        let all = verdicts.iter().filter(|verdict| verdict.standing == standing);
        all.map(|verdict| verdict.what.as_str()).collect::<Vec<_>>()
    };
    let mut out = format!("Of {} bars {} are met", verdicts.len(), of(Standing::Met).len());
    for (title, which) in
        [("missed", of(Standing::Missed)), ("out of reach, as the same run shows", of(Standing::OutOfReach))]
    {
        if !which.is_empty() {
            out.push_str(&format!("; {title}: {} ({})", which.len(), which.join("; ")));
        }
    }
    match of(Standing::NotMeasured).len() {
        0 => out + ".\n",
        absent => out + &format!("; {absent} were not measured in this run.\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = format!("# tp\n\n{BEGIN}\nold\n{END}\n\n## rest\n");
        let new = between(&text, "new\n").unwrap();
        assert_eq!(new, format!("# tp\n\n{BEGIN}\n\nnew\n\n{END}\n\n## rest\n"));
        assert_eq!(between(&new, "new\n").unwrap(), new);
        assert!(between("# tp\n", "new").is_err());
    }
}
