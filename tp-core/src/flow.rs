//! A flow: one TCP connection or one UDP association, named by its 5-tuple as the app sees it.

use std::fmt;

use crate::addr::{AppAddr, DestAddr};

/// The two transports that are tunnelled. The value is the IP protocol number (RFC 9293, RFC 768).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Proto {
    Tcp = 6,
    Udp = 17,
}

impl Proto {
    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// 5-tuple of a flow: the app's end, and where the app believes it is talking to (a cluster address or a VIP).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Flow {
    pub app: AppAddr,
    pub dest: DestAddr,
    pub proto: Proto,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.proto, self.app, self.dest)
    }
}
