//! Memory that is not needed any more goes back to the kernel.
//!
//! mimalloc keeps what was freed until it is asked for memory again, and a program without traffic does not ask. While there
//! is traffic that is what makes it fast (docs/performance.md), so nothing is given back then.
#![expect(unsafe_code, reason = "the allocator's library is C")]

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Processor time since the last look, in milliseconds: less is quiet.
const QUIET: i64 = 20;
/// Processor time since the last time, in milliseconds: whoever worked less has freed little.
const WORTH_IT: i64 = 10;

/// Gives back what this thread and those that have ended do not use. To be called once the set-up is over.
pub fn give_back() {
    // SAFETY: may be called at any time in any thread; without mimalloc as the allocator it has nothing to do.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// The same whenever the process has worked and has become quiet. What it holds says nothing: it may free much of it late,
/// and be no smaller. For as long as it is polled.
pub async fn give_back_when_quiet() {
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut used, mut given_back) = (processor_time(), 0);
    loop {
        every.tick().await;
        let now = processor_time();
        let quiet = now - used < QUIET;
        used = now;
        if quiet && now - given_back > WORTH_IT {
            give_back();
            given_back = processor_time();
            used = given_back;
        }
    }
}

/// Of all threads so far, in milliseconds.
fn processor_time() -> i64 {
    let of = |usage: nix::sys::resource::Usage| {
        usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds()
    };
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time() {
        let before = processor_time();
        while processor_time() == before {
            std::hint::black_box(before);
        }
    }
}
