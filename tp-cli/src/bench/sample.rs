//! Many durations, and what is told of them.

use std::time::Duration;

/// In the order they were taken.
#[derive(Clone, Default, Debug)]
pub(super) struct Sample(Vec<Duration>);

impl Sample {
    pub(super) fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// All of the threads' samples in one.
    pub(super) fn of(samples: impl IntoIterator<Item = Self>) -> Self {
        Self(samples.into_iter().flat_map(|sample| sample.0).collect())
    }

    /// The 50th and 99th percentile in microseconds; 0 of nothing.
    pub(super) fn p50_p99(mut self) -> (f64, f64) {
        self.0.sort_unstable();
        (micros(self.percentile(50)), micros(self.percentile(99)))
    }

    /// The smallest that at least `percent` of all are not above (nearest rank). Sorted.
    fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(micros: impl IntoIterator<Item = u64>) -> Sample {
        Sample(micros.into_iter().map(Duration::from_micros).collect())
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        assert_eq!(sample([]).p50_p99(), (0.0, 0.0));
        assert_eq!(sample([7]).p50_p99(), (7.0, 7.0));
        assert_eq!(sample([3, 1, 2]).p50_p99(), (2.0, 3.0));
        assert_eq!(sample([2, 1]).p50_p99(), (1.0, 2.0));
        assert_eq!(sample((1..=100).rev()).p50_p99(), (50.0, 99.0));
        assert_eq!(sample(1..=1000).p50_p99(), (500.0, 990.0));
        // a single slow one of a hundred is not the 99th percentile, two are
        assert_eq!(sample((1..=99).map(|_| 1).chain([900])).p50_p99(), (1.0, 1.0));
        assert_eq!(sample((1..=98).map(|_| 1).chain([900, 900])).p50_p99(), (1.0, 900.0));
    }

    proptest! {
        #[test]
        fn enough_are_not_above(micros in prop::collection::vec(0u64..1000, 1..300)) {
            let (p50, p99) = sample(micros.clone()).p50_p99();
            let not_above = |limit: f64| micros.iter().filter(|one| **one as f64 <= limit + 1e-6).count();
            prop_assert!(not_above(p50) * 2 >= micros.len());
            prop_assert!(not_above(p99) * 100 >= micros.len() * 99);
            prop_assert!(not_above(p50 - 1.0) * 2 < micros.len());
        }
    }

    #[test]
    fn samples_add_up() {
        let one = Sample::of([sample([1]), sample([]), sample([2, 3])]);
        assert_eq!(one.count(), 3);
    }
}
