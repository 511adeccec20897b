//! The addresses of a virtual subnet that have never been given out, one after the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// However large the subnet: more names than this are not in use on one machine, and each costs memory.
const MOST: u32 = 65_536;

#[derive(Debug)]
pub(super) struct Pool {
    net: IpNet,
    first: u32,
    /// Exclusive.
    end: u32,
    next: u32,
}

impl Pool {
    /// The first and the last address of a subnet mean something else, where there is room.
    pub(super) fn new(net: IpNet) -> Self {
        let net = net.trunc();
        let host_bits = u32::from(net.max_prefix_len() - net.prefix_len());
        let addresses = 1u64.checked_shl(host_bits).unwrap_or(u64::MAX);
        let (first, last_unusable) = match host_bits {
            0 | 1 => (0, 0),
            _ => (1, 1),
        };
        let end = u32::try_from(addresses - last_unusable).unwrap_or(u32::MAX).min(first + MOST);
        Self { net, first, end, next: first }
    }

    pub(super) fn fresh(&mut self) -> Option<IpAddr> {
        if self.next == self.end {
            return None;
        }
        let offset = self.next;
        self.next += 1;
        Some(match self.net.addr() {
            IpAddr::V4(base) => Ipv4Addr::from_bits(base.to_bits() + offset).into(),
            IpAddr::V6(base) => Ipv6Addr::from_bits(base.to_bits() + u128::from(offset)).into(),
        })
    }

    pub(super) fn net(&self) -> IpNet {
        self.net
    }

    pub(super) fn size(&self) -> u32 {
        self.end - self.first
    }
}
