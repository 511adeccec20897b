//! A run as text: for the terminal, and as Markdown for README.
use super::bars::{Standing, Verdict, judge};
use super::metrics::{METRICS, Metric, Unit, of_cpu};
use super::run::{Run, Spread};

/// A table whose first row is the header.
pub(crate) type Table = Vec<Vec<String>>;

/// What the fourth column of the bars means.
pub(crate) const BEST: &str = "At best here: the ratio if ours took no more than something of the same run that has less to do: \
    loopback (no dataplane), raw TCP (no tunnel), a thread that only writes each SYN back (echo), two round \
    trips for the dial and the byte; each in the best of its rounds. A bar that even this misses is out of reach, unless ours is the better one.";

/// Everything.
pub(crate) fn text(run: &Run) -> String {
    let how = &run.how;
    let mut out = format!(
        "{}\n{} rounds of {} s, {} build, {}; medians (range)\n",
        run.machine.shown(),
        how.rounds,
        how.seconds,
        how.profile,
        how.revision
    );
    for setting in settings(run) {
        let costs = cpu(run, &setting);
        let time = "CPU seconds per GB; interrupts count for whoever runs meanwhile, `app` is the load generator, `process` all in one";
        for (title, table) in [(describe(&setting), figures(run, &setting)), (time, costs)] {
            if table.len() > 1 {
                out.push_str(&format!("\n{title}\n{}", aligned(&table)));
            }
        }
    }
    out.push_str(&format!("\nBars\n{}{BEST}\n", aligned(&verdicts(&judge(run)))));
    for (title, lines) in [("Not measured", &run.skipped), ("Failed", &run.failed)] {
        if !lines.is_empty() {
            out.push_str(&format!("\n{title}\n  {}\n", lines.join("\n  ")));
        }
    }
    out
}

/// In the order in which they were measured.
pub(crate) fn settings(run: &Run) -> Vec<String> {
    distinct(run.series.iter().map(|series| series.setting.clone()))
}

pub(crate) fn subjects(run: &Run, setting: &str) -> Vec<String> {
    distinct(run.series.iter().filter(|s| s.setting == setting).map(|s| s.subject.clone()))
}

pub(crate) fn describe(setting: &str) -> &str {
    match setting {
        "veth" => "Direct: workstations beside a node, a veth between, standalone manager",
        "kube" => "Kubernetes: through the API server to a pod",
        "dataplane" => "Dataplane alone: app's socket to daemon's socket, in one process",
        other => other,
    }
}

/// A row per metric, a column per subject.
pub(crate) fn figures(run: &Run, setting: &str) -> Table {
    let subjects = subjects(run, setting);
    let mut table = vec![header("", &subjects)];
    for metric in METRICS {
        let cells: Vec<Option<Spread>> =
            subjects.iter().map(|subject| run.spread(setting, subject, metric.id)).collect();
        if cells.iter().any(Option::is_some) {
            let title = format!("{} [{}]", metric.title, metric.unit.name());
            table.push(row(title, &cells, metric.unit));
        }
    }
    table
}

/// A row per throughput case and process, a column per subject.
pub(crate) fn cpu(run: &Run, setting: &str) -> Table {
    let subjects = subjects(run, setting);
    let mut table = vec![header("", &subjects)];
    let here = run.series.iter().filter(|series| series.setting == setting);
    let mut all = distinct(here.filter(|s| of_cpu(&s.metric).is_some()).map(|s| s.metric.clone()));
    let place = |metric: &String| {
        let case = of_cpu(metric).map_or("", |(case, _)| case);
        METRICS.iter().position(|known| known.id == case)
    };
    all.sort_by_key(place);
    for metric in all {
        let cells: Vec<_> = subjects.iter().map(|subject| run.spread(setting, subject, &metric)).collect();
        let (case, role) = of_cpu(&metric).unwrap_or_default();
        let title = METRICS.iter().find(|known| known.id == case).map_or(case, |known| known.title);
        table.push(row(format!("{title}: {role}"), &cells, Unit::SecondsPerGb));
    }
    table
}

pub(crate) fn verdicts(verdicts: &[Verdict]) -> Table {
    let mut table = vec![["bar", "wanted", "measured", "at best here", ""].map(str::to_owned).to_vec()];
    for verdict in verdicts {
        let standing = match verdict.standing {
            Standing::Met => "met",
            Standing::Missed => "MISSED",
            Standing::OutOfReach => "out of reach",
            Standing::NotMeasured => "not measured",
        };
        let [measured, best] =
            [&verdict.measured, &verdict.best].map(|cell| cell.clone().unwrap_or_default());
        table.push(vec![verdict.what.clone(), verdict.wanted.clone(), measured, best, standing.to_owned()]);
    }
    table
}

/// Columns in line, the first to the left.
pub(crate) fn aligned(table: &Table) -> String {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, width))| {
            if i == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    table.iter().map(line).collect()
}

pub(crate) fn markdown(table: &Table) -> String {
    let line = |row: &Vec<String>| format!("| {} |\n", row.join(" | "));
    let Some((header, rows)) = table.split_first() else { return String::new() };
    let ruler = header.iter().enumerate().map(|(i, _)| if i == 0 { "---" } else { "--:" }.to_owned());
    let ruler = line(&ruler.collect());
    format!("{}{ruler}{}", line(header), rows.iter().map(line).collect::<String>())
}

/// The metric's row in units, or an empty cell.
pub(crate) fn cell(metric: &Metric, spread: Option<Spread>) -> String {
    spread.map(|spread| metric.unit.show(spread.median)).unwrap_or_default()
}

fn header(first: &str, subjects: &[String]) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(subjects.iter().cloned()).collect()
}

fn row(title: String, cells: &[Option<Spread>], unit: Unit) -> Vec<String> {
    let shown = cells.iter().map(|cell| {
        cell.map(|s| format!("{} ({}–{})", unit.show(s.median), unit.show(s.min), unit.show(s.max)))
    });
    std::iter::once(title).chain(shown.map(Option::unwrap_or_default)).collect()
}

fn distinct(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}
