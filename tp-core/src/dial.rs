//! Why a dial failed, and what the app is told.
//!
//! "Honest connect" (design §3) means that an app sees the error it would see in the cluster itself, so the
//! cause travels as a closed enum from the `connect(2)` at the far end to the packet written to the app.

use std::fmt;
use std::io;
use std::time::Duration;

/// The cause of a failed dial, as it travels in the `DialError` frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DialError {
    /// The destination answered with a reset: ECONNREFUSED.
    Refused,
    /// No such host behind its router: EHOSTUNREACH.
    HostUnreachable,
    /// No route at the far end: ENETUNREACH.
    NetUnreachable,
    /// Nobody answered within the dial timeout: ETIMEDOUT.
    TimedOut,
    /// A policy of the manager forbids the destination.
    Denied,
    /// Anything else, e.g. out of file descriptors at the far end.
    Other,
}

/// How the daemon answers the held SYN or datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// TCP RST (UDP: ICMP port unreachable): the app gets ECONNREFUSED.
    Reset,
    /// ICMP host unreachable: EHOSTUNREACH.
    HostUnreachable,
    /// ICMP network unreachable: ENETUNREACH.
    NetUnreachable,
    /// ICMP administratively prohibited: EHOSTUNREACH for TCP on Linux, "Packet filtered" for ping.
    Prohibited,
    /// Nothing at all: the app's own connect timeout decides, as it would in the cluster.
    Silence,
}

impl DialError {
    /// Wire value, `DialError` frame (our extension, feature `DIAL_ERROR`).
    pub fn code(self) -> u64 {
        match self {
            Self::Refused => 1,
            Self::HostUnreachable => 2,
            Self::NetUnreachable => 3,
            Self::TimedOut => 4,
            Self::Denied => 5,
            Self::Other => 6,
        }
    }

    /// A code of a newer peer that we do not know is `Other`.
    pub fn from_code(code: u64) -> Self {
        match code {
            1 => Self::Refused,
            2 => Self::HostUnreachable,
            3 => Self::NetUnreachable,
            4 => Self::TimedOut,
            5 => Self::Denied,
            _ => Self::Other,
        }
    }

    /// Classifies the error of a `connect(2)` or `send(2)` at the far end.
    pub fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::HostUnreachable => Self::HostUnreachable,
            io::ErrorKind::NetworkUnreachable => Self::NetUnreachable,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Other,
        }
    }

    /// The likely cause of a failure that a peer reported without one, by how long it took: in one network a refusal
    /// comes at once, an absent neighbour is given up after the kernel's three ARP probes, one second each.
    pub fn guess(elapsed: Duration, timeout: Duration) -> Self {
        if elapsed >= timeout {
            Self::TimedOut
        } else if elapsed >= Duration::from_secs(2) {
            Self::HostUnreachable
        } else {
            Self::Refused
        }
    }

    /// What the app is told. A timed-out dial stays unanswered: the app's own connect timeout (or the kernel's
    /// ETIMEDOUT) decides, exactly as for an address in the cluster that swallows packets.
    pub fn answer(self) -> Answer {
        match self {
            Self::Refused => Answer::Reset,
            Self::HostUnreachable | Self::Other => Answer::HostUnreachable,
            Self::NetUnreachable => Answer::NetUnreachable,
            Self::TimedOut => Answer::Silence,
            Self::Denied => Answer::Prohibited,
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::HostUnreachable => "host unreachable",
            Self::NetUnreachable => "network unreachable",
            Self::TimedOut => "timed out",
            Self::Denied => "denied by policy",
            Self::Other => "dial failed",
        })
    }
}

impl std::error::Error for DialError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_nobody_told() {
        let timeout = Duration::from_secs(10);
        assert_eq!(DialError::guess(Duration::from_millis(3), timeout), DialError::Refused);
        assert_eq!(DialError::guess(Duration::from_millis(3060), timeout), DialError::HostUnreachable);
        assert_eq!(DialError::guess(timeout, timeout), DialError::TimedOut);
    }

    #[test]
    fn every_cause_survives_the_wire() {
        for cause in [
            DialError::Refused,
            DialError::HostUnreachable,
            DialError::NetUnreachable,
            DialError::TimedOut,
            DialError::Denied,
            DialError::Other,
        ] {
            assert_eq!(DialError::from_code(cause.code()), cause);
        }
        assert_eq!(DialError::from_code(4711), DialError::Other);
    }
}
