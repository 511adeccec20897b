//! The bars: what the project promises, and whether a run keeps it. Ratios within one run, so that they hold on any machine.
//! Where nothing could keep one on the machine of the run, the same run shows that: see [`Bound`].
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
    bound: Option<Bound>,
}

/// Something in the same run that does less than ours has to do, so that ours cannot be better.
#[derive(Debug, Clone)]
enum Bound {
    /// What this subject has of the same metric.
    Subject(&'static str),
    /// So many round trips of our own for each: an app hears of the dial, and then of its byte.
    RoundTrips(f64),
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
    /// The best that the same run leaves room for, as it is shown.
    pub(crate) best: Option<String>,
    pub(crate) standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Met,
    Missed,
    /// Missed, and so would be what the bar is bounded by.
    OutOfReach,
    NotMeasured,
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
        bound: None,
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
    bars.extend(connects.map(|(what, metric)| Bar {
        bound: Some(Bound::Subject("echo")),
        ..bar(what, "dataplane", metric, "ebpf", Some("loopback"), AtMost(2.0))
    }));
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
    bars.extend(forwarded.map(|(what, metric, limit)| Bar {
        bound: (metric == "connect-1").then_some(Bound::RoundTrips(2.0)),
        ..bar(what, "kube", metric, "ebpf", Some("port-forward"), limit)
    }));
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
        ("veth", "", "daemon", "daemon's CPU per GB", "raw"),
        (dataplane::NAME, "alone, ", "process", "CPU per GB of both ends", "loopback"),
    ];
    let mut bars = Vec::new();
    for (setting, place, role, time, least) in places {
        for (against, name) in pairs {
            for (direction, rate) in [("up", "upload-1"), ("down", "download-1")] {
                let bar = |case: String, metric, limit| Bar {
                    what: format!("{place}eBPF : {name}, {case}"),
                    setting,
                    metric,
                    subject: "ebpf",
                    against: Some(against),
                    limit,
                    bound: Some(Bound::Subject(least)),
                };
                bars.extend([
                    bar(format!("1 stream {direction}"), rate.to_owned(), Limit::AtLeast(3.0)),
                    bar(format!("{time} {direction}"), cpu(rate, role), AT_MOST_A_THIRD),
                ]);
            }
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
        let best = self.best(run);
        let standing = match (measured, best) {
            (None, _) => Standing::NotMeasured,
            (Some(spread), _) if self.limit.holds(spread.median) => Standing::Met,
            // what ours is better than is no bound of it
            (Some(spread), Some(best))
                if !self.limit.holds(best) && !self.limit.better(spread.median, best) =>
            {
                Standing::OutOfReach
            }
            (Some(_), _) => Standing::Missed,
        };
        Verdict {
            what: self.what.clone(),
            wanted: self.wanted(),
            measured: measured.map(|spread| self.show(spread)),
            best: best.map(two_digits),
            standing,
        }
    }

    /// The ratio that ours would have if it were what bounds it, in the best of its rounds: noise is no excuse.
    fn best(&self, run: &Run) -> Option<f64> {
        let spread = |subject: &str, metric: &str| run.spread(self.setting, subject, metric);
        let theirs = spread(self.against?, &self.metric)?.median;
        let bound = match self.bound.as_ref()? {
            Bound::Subject(subject) => {
                let bound = spread(subject, &self.metric)?;
                if matches!(self.limit, Limit::AtLeast(_)) { bound.max } else { bound.min }
            }
            Bound::RoundTrips(count) => 1e6 / (count * spread(self.subject, "round-trip-p50")?.min),
        };
        Some(bound / theirs)
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
    fn better(self, value: f64, than: f64) -> bool {
        match self {
            Self::AtLeast(_) => value > than,
            Self::AtMost(_) => value < than,
        }
    }

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
    use super::Standing::{Met, Missed, NotMeasured, OutOfReach};
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
        for (ours, met) in [(9.0, Met), (8.4, Missed), (8.5, Met)] {
            let verdict = verdict(&run("veth", "upload-1", &[("ebpf", ours), ("relays", 10.0)]), what);
            assert_eq!((verdict.standing, verdict.wanted.as_str()), (met, "≥ 0.85 × relays"));
        }
    }

    #[test]
    fn at_most_is_met_and_missed() {
        let what = "direct, round trip of 1 byte, p50";
        for (ours, met) in [(125.0, Met), (126.0, Missed)] {
            let verdict = verdict(&run("veth", "round-trip-p50", &[("ebpf", ours), ("relays", 100.0)]), what);
            assert_eq!(verdict.standing, met);
        }
    }

    #[test]
    fn a_bar_without_its_measurement_is_neither() {
        for run in [Run::default(), run("veth", "upload-1", &[("ebpf", 9.0)])] {
            let verdict = verdict(&run, "direct, 1 stream up");
            assert_eq!((verdict.standing, verdict.measured), (NotMeasured, None));
        }
    }

    #[test]
    fn some_bars_are_figures() {
        let run = run("veth", "memory-idle", &[("ebpf", 39.5e6)]);
        let verdict = verdict(&run, "daemon's memory, connected and idle");
        assert_eq!((verdict.standing, verdict.wanted.as_str()), (Met, "≤ 40.0 MB"));
        assert_eq!(verdict.measured.as_deref(), Some("39.5 (39.5–39.5)"));
    }

    #[test]
    fn the_processor_time_of_the_daemon_is_compared() {
        let run = run("veth", "upload-1/cpu/daemon", &[("ebpf", 0.5), ("userspace", 1.6)]);
        assert_eq!(verdict(&run, "eBPF : userspace, daemon's CPU per GB up").standing, Met);
    }

    #[test]
    fn what_the_run_itself_leaves_no_room_for_is_out_of_reach() {
        let what = "alone, eBPF : userspace, 1 stream up";
        for (loopback, standing) in [(8.0, OutOfReach), (13.0, Missed)] {
            let values = [("ebpf", 7.0), ("userspace", 4.0), ("loopback", loopback)];
            assert_eq!(verdict(&run("dataplane", "upload-1", &values), what).standing, standing);
        }
        let mut disturbed =
            run("dataplane", "connect-apart-p50", &[("ebpf", 70.0), ("loopback", 34.0), ("echo", 78.0)]);
        disturbed.add("dataplane", "echo", "connect-apart-p50", 62.0);
        let what = "connect() p50, the dial free, 2 ms apart";
        assert_eq!(verdict(&disturbed, what).standing, Missed, "a better round shows that it can be");
        let mut run = run("kube", "connect-1", &[("ebpf", 500.0), ("port-forward", 250.0)]);
        let what = "port-forward, connect + 1 byte, one at a time";
        assert_eq!(verdict(&run, what).standing, Missed, "nothing shows that it cannot be");
        run.add("kube", "ebpf", "round-trip-p50", 1000.0);
        let verdict = verdict(&run, what);
        // two of them take 2 ms: at most 500 a second
        assert_eq!((verdict.standing, verdict.best.as_deref()), (OutOfReach, Some("2.00")));
    }

    #[test]
    fn what_ours_is_better_than_does_not_bound_it() {
        let what = "alone, eBPF : userspace, CPU per GB of both ends up";
        for (ours, standing) in [(0.4, OutOfReach), (0.3, Missed)] {
            let values = [("ebpf", ours), ("userspace", 0.8), ("loopback", 0.35)];
            assert_eq!(verdict(&run("dataplane", "upload-1/cpu/process", &values), what).standing, standing);
        }
    }

    #[test]
    fn every_pair_of_dataplanes_is_judged_by_itself() {
        let mut run =
            run("dataplane", "download-1", &[("ebpf", 9.0), ("userspace", 4.0), ("userspace-1500", 3.0)]);
        run.add("veth", "ebpf", "download-1", 9.0);
        for (what, met) in [
            ("eBPF : userspace, 1 stream down", NotMeasured),
            ("eBPF : userspace without offloads (MTU 1500), 1 stream down", NotMeasured),
            ("alone, eBPF : userspace, 1 stream down", Missed),
            ("alone, eBPF : userspace without offloads (MTU 1500), 1 stream down", Met),
        ] {
            assert_eq!(verdict(&run, what).standing, met, "{what}");
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
