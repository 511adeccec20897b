//! The report: one HTML file that needs nothing else, and the picture of it that README shows.
use std::fmt::Write;

use super::bars::judge;
use super::metrics::METRICS;
use super::run::Run;
use super::svg::{self, Bar, Plot, escape};
use super::table::{self, Table};

/// What the picture for README shows.
const OVERVIEW: [&str; 4] = ["upload-1", "download-1", "round-trip-p50", "connect-1"];

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#222;\
    background:#fff}table{border-collapse:collapse;margin:1em 0;font-size:13px}td,th{padding:.25em .7em;text-align:right;\
    border-bottom:1px solid #ddd;white-space:nowrap}td:first-child,th:first-child{text-align:left}\
    .met{color:#0a7a2f}.missed{color:#b3001b;font-weight:600}.none{color:#777}.wide{overflow-x:auto}";

pub(crate) fn html(run: &Run) -> String {
    let how = &run.how;
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>tp: benchmark</title>\
         <style>{STYLE}</style></head>\n<body>\n<h1>tp: benchmark</h1>\n<p>{}<br>{} rounds of {} s, {} build, {}. \
         Bars are medians, the thin lines go from the least to the most of the rounds. Subjects take turns within each \
         round; each has a workstation of its own, wired alike.</p>\n<h2>Bars</h2>\n",
        escape(&run.machine.shown()),
        how.rounds,
        how.seconds,
        escape(&how.profile),
        escape(&how.revision)
    );
    out.push_str(&rows(&table::verdicts(&judge(run))));
    let _ = writeln!(out, "<p>{}</p>", escape(table::BEST));
    for setting in table::settings(run) {
        let _ = write!(out, "<h2>{}</h2>\n<div class=\"wide\">", escape(table::describe(&setting)));
        let ids: Vec<&str> = METRICS.iter().map(|metric| metric.id).collect();
        out.push_str(&svg::sheet(&plots(run, &setting, &ids), 2));
        out.push_str("</div>\n<div class=\"wide\">");
        out.push_str(&rows(&table::figures(run, &setting)));
        let costs = table::cpu(run, &setting);
        if costs.len() > 1 {
            out.push_str(
                "<h3>CPU seconds per GB</h3>\n<p>User and system time from /proc. What the kernel does in interrupts \
                 (packets across a veth or the TUN, mostly) is counted for whoever happens to run. <em>app</em> is the \
                 load generator, <em>all</em> the sum of the lines above; the sink is in none of them. Of the dataplane \
                 alone both ends run in one <em>process</em> with it.</p>\n",
            );
            out.push_str(&rows(&costs));
        }
        out.push_str("</div>\n");
    }
    for (title, lines) in [("Not measured", &run.skipped), ("Failed", &run.failed)] {
        if !lines.is_empty() {
            let items: String = lines.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
            let _ = writeln!(out, "<h2>{title}</h2>\n<ul>{items}</ul>");
        }
    }
    out.push_str("</body></html>\n");
    out
}

/// The most telling plots of the settings with a tunnel.
pub(crate) fn overview(run: &Run) -> String {
    let mut all = Vec::new();
    for setting in table::settings(run).iter().filter(|setting| *setting != "dataplane") {
        for mut plot in plots(run, setting, &OVERVIEW) {
            let place = if setting == "kube" { "through the API server" } else { "direct" };
            plot.title = format!("{}, {place}", plot.title);
            all.push(plot);
        }
    }
    svg::sheet(&all, 2)
}

fn plots(run: &Run, setting: &str, metrics: &[&str]) -> Vec<Plot> {
    let subjects = table::subjects(run, setting);
    let wanted = metrics.iter().filter_map(|id| METRICS.iter().find(|metric| metric.id == *id));
    let plot = |metric: &super::metrics::Metric| {
        let bar = |subject: &String| {
            let spread = run.spread(setting, subject, metric.id)?;
            Some(Bar {
                label: subject.clone(),
                min: spread.min,
                median: spread.median,
                max: spread.max,
                shown: metric.unit.show(spread.median),
                ours: subject.starts_with("ebpf"),
            })
        };
        let title = format!("{}, {}", metric.title, metric.unit.name());
        Plot { title, more_is_better: metric.more_is_better, bars: subjects.iter().filter_map(bar).collect() }
    };
    wanted.map(plot).filter(|plot| !plot.bars.is_empty()).collect()
}

fn rows(table: &Table) -> String {
    let mut out = "<table>\n".to_owned();
    for (i, row) in table.iter().enumerate() {
        let tag = if i == 0 { "th" } else { "td" };
        let cells = row.iter().map(|cell| {
            let class = match cell.as_str() {
                "met" => " class=\"met\"",
                "MISSED" => " class=\"missed\"",
                "not measured" | "out of reach" => " class=\"none\"",
                _ => "",
            };
            format!("<{tag}{class}>{}</{tag}>", escape(cell))
        });
        let _ = writeln!(out, "<tr>{}</tr>", cells.collect::<String>());
    }
    out.push_str("</table>\n");
    out
}
