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
/// In pages: 1 MiB, where they have 4 KiB.
const WORTH_IT: u64 = 256;

/// Gives back what this thread and those that have ended do not use. To be called once the set-up is over.
pub fn give_back() {
    // SAFETY: may be called at any time in any thread; without mimalloc as the allocator it has nothing to do.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// The same whenever the process has become quiet and has grown since the last time. For as long as it is polled.
pub async fn give_back_when_quiet() {
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut used, mut kept) = (processor_time(), 0);
    loop {
        every.tick().await;
        let now = processor_time();
        let quiet = now - used < QUIET;
        used = now;
        if quiet && resident() > kept + WORTH_IT {
            give_back();
            kept = resident();
            used = processor_time();
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

/// In pages; 0 where the kernel does not tell.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_is_used() {
        assert!(resident() > 0);
        let before = processor_time();
        while processor_time() == before {
            std::hint::black_box(resident());
        }
    }
}
