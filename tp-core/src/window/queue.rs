//! How far senders may go ahead on a slow way. What they send faster than its slowest hop lets through waits there, where no
//! small message of another flow can overtake it: in a port-forward that is the API server's socket, megabytes deep.

use std::time::{Duration, Instant};

use super::FULL;

/// What waits in all hops together should be through after this time.
const AHEAD: Duration = Duration::from_millis(30);

/// Smallest window for this reason, in bytes: 20 Mbit/s at 50 ms, if the way has become a longer one unnoticed.
pub const FLOOR: u32 = 128 << 10;

/// The way may have become another after this time: a laptop goes from one network to the next.
const FRESH: Duration = Duration::from_secs(30);

/// What the pings on a connection have told.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    window: u32,
    /// How long the way takes when nothing waits, and when that was seen.
    empty: Option<(Duration, Instant)>,
}

impl Default for Queue {
    fn default() -> Self {
        Self { window: FULL, empty: None }
    }
}

impl Queue {
    /// A ping has taken so long; `idle`: hardly anything was received since the one before. The window that flows should have.
    pub fn pinged(&mut self, took: Duration, idle: bool, now: Instant) -> u32 {
        let known = self.empty.filter(|(_, seen)| now.saturating_duration_since(*seen) < FRESH);
        let empty = match known {
            Some((empty, _)) if !idle && took > empty => empty,
            // old: only a ping that hardly anything was ahead of tells it anew
            None if !idle && self.window > FLOOR && self.empty.is_some() => {
                self.window /= 2;
                return self.window;
            }
            _ => {
                self.empty = Some((took, now));
                took
            }
        };
        if took > empty + AHEAD {
            self.window = (self.window / 2).max(FLOOR);
        } else if took < empty + AHEAD / 2 {
            self.window = (self.window * 2).min(FULL);
        }
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    /// A way with so many bytes a second and so long when it is empty, and as many flows that send all they may; pinged every
    /// 100 ms from when it is still empty. The window in the end, and how long the last ping took.
    fn way(rate: u64, empty: Duration, flows: u64, time: Duration) -> (u32, Duration) {
        let start = Instant::now();
        let mut queue = Queue::default();
        let (mut window, mut took, mut now) = (queue.pinged(empty, true, start), empty, start);
        while now < start + time {
            now += 100 * MS;
            let ahead = flows * u64::from(window);
            took = empty.max(Duration::from_micros(ahead * 1_000_000 / rate));
            window = queue.pinged(took, false, now);
        }
        (window, took)
    }

    #[test]
    fn a_fast_way_has_full_windows() {
        assert_eq!(way(1 << 30, MS, 1, 100 * 100 * MS).0, FULL);
        assert_eq!(way(1 << 27, 100 * MS, 1, 100 * 100 * MS).0, FULL); // 1 Gbit/s, far away
    }

    #[test]
    fn a_slow_way_has_little_ahead_but_is_kept_busy() {
        for (megabits, empty, flows) in [(50, 2, 1), (50, 40, 1), (50, 100, 1), (400, 20, 4), (100, 10, 1)] {
            let (rate, empty) = (megabits * 125_000, empty * MS);
            for seconds in [5, 20, 29, 120, 121, 122, 123, 600] {
                let (window, took) = way(rate, empty, flows, seconds * 1000 * MS);
                assert!(
                    took <= empty + 2 * AHEAD,
                    "{megabits} Mbit/s, {empty:?}: {took:?} after {seconds} s"
                );
                let busy =
                    u64::from(window) * flows >= rate * u64::try_from(empty.as_millis()).unwrap() / 1000;
                assert!(busy || window == FLOOR, "{megabits} Mbit/s, {empty:?}: {window} after {seconds} s");
            }
        }
    }

    #[test]
    fn another_way_is_noticed() {
        let start = Instant::now();
        let mut queue = Queue::default();
        queue.pinged(MS, true, start);
        let mut window = 0;
        for tenth in 1..400 {
            // a longer way, on which nothing ever waits
            window = queue.pinged(80 * MS, false, start + 100 * tenth * MS);
            assert!(window >= FLOOR);
        }
        assert_eq!(window, FULL);
    }

    #[test]
    fn an_idle_ping_tells_how_long_the_way_is() {
        let start = Instant::now();
        let mut queue = Queue::default();
        queue.pinged(MS, true, start);
        queue.pinged(200 * MS, true, start + MS);
        assert_eq!(queue.pinged(200 * MS, false, start + 2 * MS), FULL);
    }

    proptest! {
        #[test]
        fn always_within_its_limits(pings in prop::collection::vec((0u64..1 << 40, any::<bool>(), 0u64..1 << 40), 0..60)) {
            let (mut queue, mut now) = (Queue::default(), Instant::now());
            for (took, idle, later) in pings {
                now += Duration::from_nanos(later);
                let window = queue.pinged(Duration::from_nanos(took), idle, now);
                prop_assert!((FLOOR..=FULL).contains(&window) && window.is_power_of_two());
            }
        }
    }
}
