//! The bars: what the project promises, and whether a run keeps it. Ratios within one run, so that they hold on any machine.
use super::dataplane;
use super::metrics::{METRICS, Unit, cpu};
use super::run::{Run, Spread};

/// One line of the promise.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) what: String,
    setting: &'static str,
    metric: String,
    subject: &'static str,
    /// `None`: the figure itself counts, in its unit.
    against: Option<&'static str>,
    limit: Limit,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// What a run says of a bar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) wanted: String,
    /// As it is shown: median and range.
    pub(crate) measured: Option<String>,
    pub(crate) met: Option<bool>,
}

/// All of them, judged.
pub(crate) fn judge(run: &Run) -> Vec<Verdict> {
    all().iter().map(|bar| bar.judge(run)).collect()
}

fn all() -> Vec<Bar> {
    use Limit::{AtLeast, AtMost};
    let bar = |what: &str, setting, metric: &str, subject, against, limit| Bar {
        what: what.to_owned(),
        setting,
        metric: metric.to_owned(),
        subject,
        against,
        limit,
    };
    let mut bars = vec![
        bar("dataplane alone, 1 stream", "dataplane", "upload-1", "ebpf", Some("loopback"), AtLeast(0.8)),
        bar("dataplane alone, 8 streams", "dataplane", "upload-8", "ebpf", Some("loopback"), AtLeast(0.6)),
        bar("VIP path, 1 stream", "dataplane", "upload-1", "ebpf-vip", Some("ebpf-beside-vip"), AtLeast(0.9)),
        bar(
            "VIP path, 8 streams",
            "dataplane",
            "upload-8",
            "ebpf-vip",
            Some("ebpf-beside-vip"),
            AtLeast(0.9),
        ),
    ];
    let connects = [
        ("connect() p50, the dial free, one right after the other", "connect-p50"),
        ("connect() p50, the dial free, 2 ms apart", "connect-apart-p50"),
    ];
    bars.extend(
        connects.map(|(what, metric)| bar(what, "dataplane", metric, "ebpf", Some("loopback"), AtMost(2.0))),
    );
    let direct = [
        ("direct, 1 stream up", "upload-1", AtLeast(0.85)),
        ("direct, 1 stream down", "download-1", AtLeast(0.85)),
        ("direct, round trip of 1 byte, p50", "round-trip-p50", AtMost(1.25)),
        ("direct, connect + 1 byte, one at a time", "connect-1", AtLeast(0.75)),
    ];
    bars.extend(direct.map(|(what, metric, limit)| bar(what, "veth", metric, "ebpf", Some("relays"), limit)));
    let forwarded = [
        ("port-forward, 1 stream up", "upload-1", AtLeast(1.0)),
        ("port-forward, 1 stream down", "download-1", AtLeast(1.0)),
        ("port-forward, round trip of 1 byte, p50", "round-trip-p50", AtMost(1.15)),
        ("port-forward, connect + 1 byte, one at a time", "connect-1", AtLeast(4.0)),
        ("port-forward, connect + 1 byte, 64 at a time", "connect-64", AtLeast(4.0)),
    ];
    bars.extend(
        forwarded.map(|(what, metric, limit)| bar(what, "kube", metric, "ebpf", Some("port-forward"), limit)),
    );
    bars.extend(dataplanes());
    bars.extend([
        bar("daemon's memory, connected and idle", "veth", "memory-idle", "ebpf", None, AtMost(40e6)),
        bar(
            "daemon's memory per idle connection",
            "veth",
            "memory-per-connection",
            "ebpf",
            None,
            AtMost(40e3),
        ),
        bar("daemon's memory in Kubernetes, idle", "kube", "memory-idle", "ebpf", None, AtMost(40e6)),
        bar("warm `tp connect` to the first answer", "kube", "answered", "ebpf", None, AtMost(1.0)),
    ]);
    bars
}

/// The kernel's against those in user space: end to end and alone; as users get the latter, and as others have it.
fn dataplanes() -> Vec<Bar> {
    let pairs = [("userspace", "userspace"), ("userspace-1500", "userspace without offloads (MTU 1500)")];
    let places = [
        ("veth", "", "daemon", "daemon's CPU per GB"),
        (dataplane::NAME, "alone, ", "process", "CPU per GB of both ends"),
    ];
    let mut bars = Vec::new();
    for (setting, place, role, time) in places {
        for (against, name) in pairs {
            let cases = [
                ("1 stream up".to_owned(), "upload-1".to_owned(), Limit::AtLeast(3.0)),
                ("1 stream down".to_owned(), "download-1".to_owned(), Limit::AtLeast(3.0)),
                (format!("{time} up"), cpu("upload-1", role), AT_MOST_A_THIRD),
                (format!("{time} down"), cpu("download-1", role), AT_MOST_A_THIRD),
            ];
            bars.extend(cases.map(|(case, metric, limit)| Bar {
                what: format!("{place}eBPF : {name}, {case}"),
                setting,
                metric,
                subject: "ebpf",
                against: Some(against),
                limit,
            }));
        }
    }
    bars
}

const AT_MOST_A_THIRD: Limit = Limit::AtMost(1.0 / 3.0);

impl Bar {
    fn judge(&self, run: &Run) -> Verdict {
        let measured = match self.against {
            Some(against) => run.ratio(self.setting, &self.metric, self.subject, against),
            None => run.spread(self.setting, self.subject, &self.metric),
        };
        Verdict {
            what: self.what.clone(),
            wanted: self.wanted(),
            measured: measured.map(|spread| self.show(spread)),
            met: measured.map(|spread| self.limit.holds(spread.median)),
        }
    }

    fn wanted(&self) -> String {
        let (sign, value) = match self.limit {
            Limit::AtLeast(value) => ("≥", value),
            Limit::AtMost(value) => ("≤", value),
        };
        match (self.against, self.unit()) {
            (Some(against), _) => format!("{sign} {} × {against}", two_digits(value)),
            (None, unit) => format!("{sign} {} {}", unit.show(value), unit.name()),
        }
    }

    fn show(&self, spread: Spread) -> String {
        let show = |value| match self.against {
            Some(_) => two_digits(value),
            None => self.unit().show(value),
        };
        format!("{} ({}–{})", show(spread.median), show(spread.min), show(spread.max))
    }

    fn unit(&self) -> Unit {
        METRICS
            .iter()
            .find(|metric| metric.id == self.metric)
            .map_or(Unit::SecondsPerGb, |metric| metric.unit)
    }
}

impl Limit {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

fn two_digits(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(run: &Run, what: &str) -> Verdict {
        judge(run).into_iter().find(|verdict| verdict.what == what).unwrap()
    }

    fn run(setting: &str, metric: &str, values: &[(&str, f64)]) -> Run {
        let mut run = Run::default();
        values.iter().for_each(|(subject, value)| run.add(setting, subject, metric, *value));
        run
    }

    #[test]
    fn at_least_is_met_missed_and_met_on_the_line() {
        let what = "direct, 1 stream up";
        for (ours, met) in [(9.0, true), (8.4, false), (8.5, true)] {
            let verdict = verdict(&run("veth", "upload-1", &[("ebpf", ours), ("relays", 10.0)]), what);
            assert_eq!((verdict.met, verdict.wanted.as_str()), (Some(met), "≥ 0.85 × relays"));
        }
    }

    #[test]
    fn at_most_is_met_and_missed() {
        let what = "direct, round trip of 1 byte, p50";
        for (ours, met) in [(125.0, true), (126.0, false)] {
            let verdict = verdict(&run("veth", "round-trip-p50", &[("ebpf", ours), ("relays", 100.0)]), what);
            assert_eq!(verdict.met, Some(met));
        }
    }

    #[test]
    fn a_bar_without_its_measurement_is_neither() {
        for run in [Run::default(), run("veth", "upload-1", &[("ebpf", 9.0)])] {
            let verdict = verdict(&run, "direct, 1 stream up");
            assert_eq!((verdict.met, verdict.measured), (None, None));
        }
    }

    #[test]
    fn some_bars_are_figures() {
        let run = run("veth", "memory-idle", &[("ebpf", 39.5e6)]);
        let verdict = verdict(&run, "daemon's memory, connected and idle");
        assert_eq!((verdict.met, verdict.wanted.as_str()), (Some(true), "≤ 40.0 MB"));
        assert_eq!(verdict.measured.as_deref(), Some("39.5 (39.5–39.5)"));
    }

    #[test]
    fn the_processor_time_of_the_daemon_is_compared() {
        let run = run("veth", "upload-1/cpu/daemon", &[("ebpf", 0.5), ("userspace", 1.6)]);
        assert_eq!(verdict(&run, "eBPF : userspace, daemon's CPU per GB up").met, Some(true));
    }

    #[test]
    fn every_pair_of_dataplanes_is_judged_by_itself() {
        let mut run =
            run("dataplane", "download-1", &[("ebpf", 9.0), ("userspace", 4.0), ("userspace-1500", 3.0)]);
        run.add("veth", "ebpf", "download-1", 9.0);
        for (what, met) in [
            ("eBPF : userspace, 1 stream down", None),
            ("eBPF : userspace without offloads (MTU 1500), 1 stream down", None),
            ("alone, eBPF : userspace, 1 stream down", Some(false)),
            ("alone, eBPF : userspace without offloads (MTU 1500), 1 stream down", Some(true)),
        ] {
            assert_eq!(verdict(&run, what).met, met, "{what}");
        }
        let mut names: Vec<String> = all().into_iter().map(|bar| bar.what).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn every_bar_names_a_metric_that_is_measured() {
        for bar in all() {
            let known = METRICS.iter().any(|metric| metric.id == bar.metric)
                || super::super::metrics::of_cpu(&bar.metric).is_some();
            assert!(known, "{}: {}", bar.what, bar.metric);
        }
    }
}
