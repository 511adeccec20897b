//! Ports that closed connections still hold (TIME_WAIT, RFC 9293 §3.3.2). A connect takes every second port first and tries them
//! one by one, so where they are taken it is the search that would be measured: 700 connects a second instead of 4000.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// How long Linux keeps one: `TCP_TIMEWAIT_LEN`.
const KEPT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waits until `needed` connections find a port at once; `waiting` is told, once, how many are still taken.
pub(super) fn wait(needed: usize, waiting: impl FnOnce(usize)) {
    let (start, mut waiting) = (Instant::now(), Some(waiting));
    while start.elapsed() < KEPT {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let taken = taken(&read("/proc/net/sockstat"), &read("/proc/sys/net/ipv4/tcp_tw_reuse"));
        let at_once = quick(&read("/proc/sys/net/ipv4/ip_local_port_range"));
        // a kernel that does not say is not waited for
        let Some((taken, at_once)) = taken.zip(at_once) else { return };
        if taken + needed.min(at_once) <= at_once {
            return;
        }
        if let Some(waiting) = waiting.take() {
            waiting(taken);
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Of all connections: the kernel does not count them by destination. None where it takes such a port again.
fn taken(sockstat: &str, reuse: &str) -> Option<usize> {
    if reuse.trim() == "1" {
        return None;
    }
    let mut words = sockstat.lines().find_map(|line| line.strip_prefix("TCP: "))?.split_whitespace();
    words.find(|word| *word == "tw")?;
    words.next()?.parse().ok()
}

/// How many are found without a search through those of the other half.
fn quick(range: &str) -> Option<usize> {
    let (low, high) = range.trim().split_once(char::is_whitespace)?;
    let (low, high): (usize, usize) = (low.parse().ok()?, high.trim().parse().ok()?);
    Some(high.checked_sub(low)?.div_ceil(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKSTAT: &str =
        "sockets: used 29\nTCP: inuse 3 orphan 0 tw 9112 alloc 5 mem 0\nUDP: inuse 1 mem 0\n";

    #[test]
    fn what_the_kernel_says_is_read() {
        assert_eq!(taken(SOCKSTAT, "2\n"), Some(9112));
        assert_eq!(taken(SOCKSTAT, "1\n"), None, "it takes them again");
        assert_eq!(taken("", "2\n"), None);
        assert_eq!(quick("32768\t60999\n"), Some(14_116));
        assert_eq!(quick(""), None);
        assert_eq!(quick("9 7"), None);
    }
}
