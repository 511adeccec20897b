//! How far senders may go ahead of readers who do not read: less, the more has piled up already.
//!
//! What piles up in a process is then bounded in sum, whoever does not read, by [`BUDGET`], [`LEAST`] for each flow and what
//! arrives between two looks. Few that do not read cost no more than before, and do not slow anybody.

mod queue;

pub use queue::{FLOOR, Queue};

/// Receive window of one flow, in bytes: 1 Gbit/s at 30 ms, and no waiting for updates on a fast network
/// (docs/performance.md).
pub const FULL: u32 = 4 << 20;

/// Smallest window: a flow that reads still goes on beside any number of others that do not.
pub const LEAST: u32 = 32 << 10;

/// So much may pile up in a process before any window is made smaller.
const FREE: u64 = 32 << 20;

/// The window is halved each time so much more has piled up.
const STEP: u64 = 16 << 20;

/// Nobody gets more than [`LEAST`] when so much has piled up.
pub const BUDGET: u64 = FREE + STEP * ((FULL / LEAST).ilog2() as u64 - 1);

/// What the window should be now that it is `window` and `held` bytes wait for their readers. It grows by one step at a
/// time, and only when even twice as much held, which is what may come of it, would not make it smaller again.
pub fn next(window: u32, held: u64) -> u32 {
    let fits = fitting(held);
    if fits <= window {
        return fits;
    }
    let larger = window.saturating_mul(2).clamp(LEAST, FULL);
    if fitting(held.saturating_mul(2)) >= larger { larger } else { window }
}

fn fitting(held: u64) -> u32 {
    match held.checked_sub(FREE) {
        None => FULL,
        Some(over) => FULL.checked_shr(u32::try_from(1 + over / STEP).unwrap_or(32)).unwrap_or(0).max(LEAST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn vectors() {
        assert_eq!(BUDGET, 128 * MIB);
        for (window, held, expected) in [
            (FULL, 0, FULL),
            // seven that do not read
            (FULL, 7 * u64::from(FULL), FULL),
            (FULL, FREE, FULL / 2),
            (FULL, 64 * MIB, FULL / 8),
            (FULL, BUDGET - 1, 2 * LEAST),
            (FULL, BUDGET, LEAST),
            (FULL, u64::MAX, LEAST),
            // a little less is no reason to go back
            (FULL / 8, 63 * MIB, FULL / 8),
            (FULL / 8, 32 * MIB, FULL / 8),
            (FULL / 8, 31 * MIB, FULL / 4),
        ] {
            assert_eq!(next(window, held), expected, "{window} {held}");
        }
    }

    /// Windows that are reached.
    fn window() -> impl Strategy<Value = u32> {
        (0..=(FULL / LEAST).ilog2()).prop_map(|halvings| FULL >> halvings)
    }

    proptest! {
        #[test]
        fn always_one_of_a_few(window in window(), held: u64) {
            let next = next(window, held);
            prop_assert!((LEAST..=FULL).contains(&next) && next.is_power_of_two());
        }

        #[test]
        fn more_held_is_never_a_larger_window(window in window(), held in 0..2 * BUDGET, more in 0..BUDGET) {
            prop_assert!(next(window, held + more) <= next(window, held));
        }

        /// Growing lets at most as much again pile up.
        #[test]
        fn does_not_flap(window in window(), held in 0..2 * BUDGET) {
            let grown = next(window, held);
            if grown > window {
                prop_assert!(next(grown, 2 * held) >= grown);
            }
        }

        #[test]
        fn settles(window in window(), held in 0..2 * BUDGET) {
            let settled = (0..8).fold(window, |window, _| next(window, held));
            prop_assert_eq!(next(settled, held), settled);
        }

        /// Any number of flows that stop reading, so many between two looks, and some that read all they have.
        #[test]
        fn bounded_in_sum_and_full_again_in_the_end(
            looks in prop::collection::vec((0usize..40, 0usize..20), 1..200),
        ) {
            let (mut flows, mut window, mut together) = (Vec::new(), FULL, 0);
            for (stop, read) in looks {
                flows.drain(..read.min(flows.len()));
                flows.extend(std::iter::repeat_n(0, stop));
                // each gets what its window lets through, but what it has stays with it
                let mut arrived = 0;
                for held in &mut flows {
                    let more = u64::from(window).saturating_sub(*held);
                    arrived += more;
                    *held += more;
                }
                together = together.max(arrived);
                let held: u64 = flows.iter().sum();
                prop_assert!(held <= BUDGET + u64::from(LEAST) * flows.len() as u64 + together);
                window = next(window, held);
            }
            let full = (0..7).fold(window, |window, _| next(window, 0));
            prop_assert_eq!(full, FULL);
        }
    }
}
