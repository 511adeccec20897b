//! What can be measured, and what it is called on the command line.

use std::fmt;
use std::str::FromStr;

/// Streams of a bulk transfer that is more than one.
const STREAMS: usize = 8;
/// Connections made at once.
const AT_ONCE: usize = 64;
/// Connections kept open.
const IDLE: usize = 10_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    Upload { streams: usize },
    Download { streams: usize },
    RoundTrip,
    Connect { at_once: usize },
    UdpRoundTrip,
    UdpPackets,
    Dns,
    Idle { connections: usize },
}

impl Case {
    /// What is measured when nobody says what, in this order.
    pub fn ordinary() -> impl Iterator<Item = Self> {
        [
            Self::Upload { streams: 1 },
            Self::Upload { streams: STREAMS },
            Self::Download { streams: 1 },
            Self::Download { streams: STREAMS },
            Self::RoundTrip,
            Self::Connect { at_once: 1 },
            Self::Connect { at_once: AT_ONCE },
            Self::UdpRoundTrip,
            Self::UdpPackets,
            Self::Dns,
        ]
        .into_iter()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, many) = match *self {
            Self::Upload { streams } => ("upload", streams),
            Self::Download { streams } => ("download", streams),
            Self::RoundTrip => ("round-trip", 1),
            Self::Connect { at_once } => ("connect", at_once),
            Self::UdpRoundTrip => ("udp-round-trip", 1),
            Self::UdpPackets => ("udp-packets", 1),
            Self::Dns => ("dns", 1),
            Self::Idle { connections } => return write!(f, "idle={connections}"),
        };
        if many == 1 { f.write_str(name) } else { write!(f, "{name}-{many}") }
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(case) = Self::ordinary().find(|case| case.to_string() == text) {
            return Ok(case);
        }
        match text.strip_prefix("idle").map(|rest| rest.strip_prefix('=').map(str::parse)) {
            Some(Some(Ok(connections @ 1..))) => Ok(Self::Idle { connections }),
            Some(None) if text == "idle" => Ok(Self::Idle { connections: IDLE }),
            Some(Some(_)) => Err("idle=N takes a number of connections".to_owned()),
            _ => {
                let known: Vec<String> = Self::ordinary().map(|case| case.to_string()).collect();
                Err(format!("there are {} and idle[=N]", known.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for case in Case::ordinary().chain([Case::Idle { connections: 7 }]) {
            assert_eq!(case.to_string().parse(), Ok(case));
        }
        assert_eq!("idle".parse(), Ok(Case::Idle { connections: IDLE }));
        assert_eq!("connect-64".parse(), Ok(Case::Connect { at_once: 64 }));
        for wrong in ["", "up", "upload-9", "upload-1", "idle=", "idle=0", "idle=x", "idle10", "idle=-1"] {
            assert!(wrong.parse::<Case>().is_err(), "{wrong}");
        }
    }
}
