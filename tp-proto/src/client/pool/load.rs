//! How much a connection carries, and which one a new flow takes. No clock.

use std::time::{Duration, Instant};

/// Bytes per second up to which a connection is quiet: what is queued then delays nothing that a person notices.
const QUIET: u64 = 2 << 20;

/// The least time over which a rate is told.
const OVER: Duration = Duration::from_millis(100);

/// Of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    since: Instant,
    bytes: u64,
    /// In bytes per second.
    rate: u64,
}

impl Load {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, bytes: 0, rate: 0 }
    }

    /// `bytes` is what the connection has carried up to now.
    pub(super) fn measure(&mut self, bytes: u64, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        let carried = bytes.saturating_sub(self.bytes);
        let millis = u64::try_from(elapsed.max(OVER).as_millis()).unwrap_or(u64::MAX);
        let rate = carried.saturating_mul(1000) / millis;
        if elapsed >= OVER {
            *self = Self { since: now, bytes, rate };
        } else {
            self.rate = self.rate.max(rate); // too early to say that it has become quiet
        }
    }
}

/// The first that is quiet, and that it is; otherwise the one that carries least. `None` in the list has no room.
pub(super) fn choose(loads: impl Iterator<Item = Option<Load>>) -> (Option<usize>, bool) {
    let mut least: Option<(usize, u64)> = None;
    for (index, load) in loads.enumerate() {
        let Some(load) = load else { continue };
        if load.rate <= QUIET {
            return (Some(index), true);
        }
        if least.is_none_or(|(_, rate)| load.rate < rate) {
            least = Some((index, load.rate));
        }
    }
    (least.map(|(index, _)| index), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(rate: u64) -> Option<Load> {
        Some(Load { rate, ..Load::new(Instant::now()) })
    }

    #[test]
    fn bulk_is_seen_at_once_and_forgotten_after_a_while() {
        let start = Instant::now();
        let mut load = Load::new(start);
        load.measure(1 << 20, start + Duration::from_millis(10));
        assert!(load.rate > QUIET);
        load.measure(1 << 20, start + Duration::from_millis(60));
        assert!(load.rate > QUIET, "too early");
        load.measure(1 << 20, start + Duration::from_millis(150));
        assert!(load.rate > QUIET);
        load.measure(1 << 20, start + Duration::from_millis(300));
        assert_eq!(load.rate, 0);
    }

    #[test]
    fn the_first_quiet_one() {
        assert_eq!(choose([load(QUIET + 1), load(0), load(0)].into_iter()), (Some(1), true));
        assert_eq!(choose([load(QUIET + 9), load(QUIET + 1)].into_iter()), (Some(1), false));
        assert_eq!(choose([None, load(QUIET + 1), None].into_iter()), (Some(1), false));
        assert_eq!(choose([None, None].into_iter()), (None, false));
    }
}
