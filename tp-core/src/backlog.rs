//! How much of what is sent may wait in a connection's socket for its way.
//!
//! What is in there, no message of another flow can overtake: on a slow way it should be little. On a fast one the sender could
//! not keep little filled.

use std::time::{Duration, Instant};

/// Limits, in bytes: a few segments, and more than the kernel has for a socket.
pub const LEAST: u32 = 32 << 10;
pub const MOST: u32 = 8 << 20;

/// Before anything is known.
pub const FIRST: u32 = 128 << 10;

/// What waits should be on its way after this time.
const AHEAD: Duration = Duration::from_millis(4);

/// A rate is told over so many bytes and so much time, at least.
const BYTES: u64 = 256 << 10;
const TIME: Duration = Duration::from_millis(5);

/// Of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    limit: u32,
    since: Instant,
    written: u64,
}

impl Backlog {
    pub fn new(now: Instant) -> Self {
        Self { limit: FIRST, since: now, written: 0 }
    }

    /// The socket has taken so many bytes. The new limit, if there is one; the clock is asked only now and then.
    pub fn wrote(&mut self, bytes: usize, now: impl FnOnce() -> Instant) -> Option<u32> {
        self.written = self.written.saturating_add(bytes as u64);
        if self.written < BYTES {
            return None;
        }
        let now = now();
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < TIME {
            return None;
        }
        let before = self.limit;
        *self = Self { limit: limit(self.written, elapsed), since: now, written: 0 };
        (self.limit != before).then_some(self.limit)
    }
}

/// A power of two, so that it does not follow every small change.
fn limit(bytes: u64, elapsed: Duration) -> u32 {
    let ahead = u128::from(bytes) * AHEAD.as_nanos() / elapsed.as_nanos().max(1);
    u32::try_from(ahead).unwrap_or(MOST).clamp(LEAST, MOST).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The limit after so many writes of 64 KiB, evenly over the time.
    fn after(writes: u32, time: Duration) -> u32 {
        let start = Instant::now();
        let mut backlog = Backlog::new(start);
        for write in 1..=writes {
            backlog.wrote(64 << 10, || start + time * write / writes);
        }
        backlog.limit
    }

    #[test]
    fn little_on_a_slow_way_and_much_on_a_fast_one() {
        let second = Duration::from_secs(1);
        assert_eq!(after(3, second), FIRST, "too early");
        assert_eq!(after(100, second), LEAST); // 52 Mbit/s
        assert_eq!(after(2_000, second), 512 << 10); // 1 Gbit/s
        assert_eq!(after(20_000, second), MOST); // 10 Gbit/s
    }

    #[test]
    fn a_burst_says_nothing_yet() {
        let start = Instant::now();
        let mut backlog = Backlog::new(start);
        assert_eq!(backlog.wrote(1 << 20, || start + TIME / 2), None);
        assert_eq!(backlog.wrote(1, || start + TIME), Some(1 << 20));
    }

    #[test]
    fn what_stays_is_not_told_again() {
        let start = Instant::now();
        let mut backlog = Backlog::new(start);
        assert_eq!(backlog.wrote(1 << 20, || start + Duration::from_secs(1)), Some(LEAST));
        assert_eq!(backlog.wrote(1 << 20, || start + Duration::from_secs(2)), None);
    }

    proptest! {
        #[test]
        fn always_within_its_limits(writes in prop::collection::vec((0usize..1 << 40, 0u64..1 << 40), 0..50)) {
            let mut now = Instant::now();
            let mut backlog = Backlog::new(now);
            for (bytes, nanos) in writes {
                now += Duration::from_nanos(nanos);
                if let Some(limit) = backlog.wrote(bytes, || now) {
                    prop_assert!((LEAST..=MOST).contains(&limit) && limit.is_power_of_two());
                }
            }
        }
    }
}
