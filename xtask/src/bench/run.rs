//! What a run measured: one value per round for each setting, subject and metric.
use serde::{Deserialize, Serialize};

use super::host::Machine;

/// All that a report is made of; the JSON that is printed and kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
    pub(crate) how: How,
    pub(crate) series: Vec<Series>,
    /// What was not measured, and why: no fault.
    #[serde(default)]
    pub(crate) skipped: Vec<String>,
    /// What should have been measured and could not be.
    #[serde(default)]
    pub(crate) failed: Vec<String>,
}

/// The conditions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct How {
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) profile: String,
    /// The commit that was measured.
    pub(crate) revision: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) setting: String,
    pub(crate) subject: String,
    pub(crate) metric: String,
    pub(crate) values: Vec<f64>,
}

/// What is shown of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Run {
    pub(crate) fn add(&mut self, setting: &str, subject: &str, metric: &str, value: f64) {
        let known = |s: &&mut Series| s.setting == setting && s.subject == subject && s.metric == metric;
        match self.series.iter_mut().find(known) {
            Some(series) => series.values.push(value),
            None => self.series.push(Series {
                setting: setting.into(),
                subject: subject.into(),
                metric: metric.into(),
                values: vec![value],
            }),
        }
    }

    /// Something should have been measured and could not be.
    pub(crate) fn fail(&mut self, what: String) {
        eprintln!("  failed: {what}");
        self.failed.push(what);
    }

    /// Empty if it was not measured.
    pub(crate) fn values(&self, setting: &str, subject: &str, metric: &str) -> &[f64] {
        let wanted = |s: &&Series| s.setting == setting && s.subject == subject && s.metric == metric;
        self.series.iter().find(wanted).map_or(&[], |series| &series.values)
    }

    pub(crate) fn spread(&self, setting: &str, subject: &str, metric: &str) -> Option<Spread> {
        spread(self.values(setting, subject, metric))
    }

    /// How many times the median of `against` the median of `subject` is; the range is that of the rounds, each compared
    /// with itself, if both were measured in all of them.
    pub(crate) fn ratio(&self, setting: &str, metric: &str, subject: &str, against: &str) -> Option<Spread> {
        let (ours, theirs) = (self.values(setting, subject, metric), self.values(setting, against, metric));
        let median = quotient(spread(ours)?.median, spread(theirs)?.median)?;
        let paired: Vec<f64> = if ours.len() == theirs.len() {
            ours.iter().zip(theirs).filter_map(|(a, b)| quotient(*a, *b)).collect()
        } else {
            Vec::new()
        };
        let range = spread(&paired).unwrap_or(Spread { min: median, median, max: median });
        Some(Spread { median, ..range })
    }

    /// The other run's series beside ours; what both have is taken from the other.
    pub(crate) fn merge(&mut self, other: Self) {
        for series in other.series {
            self.series.retain(|s| {
                (&s.setting, &s.subject, &s.metric) != (&series.setting, &series.subject, &series.metric)
            });
            self.series.push(series);
        }
        self.skipped.extend(other.skipped);
        self.failed.extend(other.failed);
        (self.machine, self.how) = (other.machine, other.how);
    }
}

pub(crate) fn spread(values: &[f64]) -> Option<Spread> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (min, max, middle) = (*sorted.first()?, *sorted.last()?, sorted.len() / 2);
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    };
    Some(Spread { min, median, max })
}

fn quotient(a: f64, b: f64) -> Option<f64> {
    let quotient = a / b;
    quotient.is_finite().then_some(quotient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_odd_and_even_counts() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
        assert_eq!(spread(&[f64::NAN, 5.0]), Some(Spread { min: 5.0, median: 5.0, max: 5.0 }));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn a_ratio_is_that_of_the_medians_and_its_range_that_of_the_rounds() {
        let mut run = Run::default();
        for (ours, theirs) in [(9.0, 10.0), (8.0, 16.0), (10.0, 12.0)] {
            run.add("veth", "ours", "m", ours);
            run.add("veth", "theirs", "m", theirs);
        }
        let ratio = run.ratio("veth", "m", "ours", "theirs").unwrap();
        assert_eq!(ratio, Spread { min: 0.5, median: 9.0 / 12.0, max: 0.9 });
        assert_eq!(run.ratio("veth", "m", "ours", "absent"), None);
        assert_eq!(run.ratio("kube", "m", "ours", "theirs"), None);
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let mut run = Run::default();
        run.add("veth", "ours", "m", 1.0);
        run.add("veth", "theirs", "m", 0.0);
        assert_eq!(run.ratio("veth", "m", "ours", "theirs"), None);
    }

    #[test]
    fn rounds_that_cannot_be_paired_still_have_a_ratio() {
        let mut run = Run::default();
        run.add("veth", "ours", "m", 1.0);
        run.add("veth", "theirs", "m", 2.0);
        run.add("veth", "theirs", "m", 6.0);
        let all = 0.25;
        assert_eq!(
            run.ratio("veth", "m", "ours", "theirs"),
            Some(Spread { min: all, median: all, max: all })
        );
    }

    #[test]
    fn of_two_runs_the_later_counts() {
        let mut first = Run::default();
        first.add("veth", "a", "m", 1.0);
        first.add("veth", "b", "m", 1.0);
        let mut second = Run::default();
        second.add("veth", "a", "m", 2.0);
        first.merge(second);
        assert_eq!(
            (first.values("veth", "a", "m"), first.values("veth", "b", "m")),
            (&[2.0][..], &[1.0][..])
        );
    }
}
