//! An IP address of either family as map keys hold it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// 16 bytes in network order; IPv4 as `::ffff:a.b.c.d`. Words instead of bytes, so that the BPF compiler copies
/// and compares four registers and not sixteen.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Addr(pub [u32; 4]);

crate::shared!(Addr = 16);

const MAPPED: u32 = 0xffff_u32.to_be();

impl Addr {
    /// `word` as it stands in the packet.
    #[inline(always)]
    pub const fn v4(word: u32) -> Self {
        Self([0, 0, MAPPED, word])
    }

    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == MAPPED
    }

    /// The unset address: no real packet has it as a destination.
    #[inline(always)]
    pub const fn is_unset(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == 0 && self.0[3] == 0
    }

    /// Multicast of either family, and the IPv4 limited broadcast.
    #[inline(always)]
    pub const fn is_multicast(&self) -> bool {
        if self.is_v4() {
            let word = u32::from_be(self.0[3]);
            word >> 28 == 0xe || word == u32::MAX
        } else {
            u32::from_be(self.0[0]) >> 24 == 0xff
        }
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        let octets = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(octets.chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Self(words)
    }
}

impl From<Addr> for IpAddr {
    fn from(addr: Addr) -> Self {
        if addr.is_v4() {
            return Ipv4Addr::from(u32::from_be(addr.0[3])).into();
        }
        let mut octets = [0; 16];
        for (bytes, word) in octets.chunks_exact_mut(4).zip(addr.0) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Ipv6Addr::from(octets).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_survive_the_round_trip() {
        for text in ["10.1.2.3", "0.0.0.0", "255.255.255.255", "fd96::1", "::1", "2001:db8:1:2:3:4:5:6"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Addr::from(ip)), ip);
        }
    }

    #[test]
    fn words_are_in_network_order() {
        let addr = Addr::from(IpAddr::from([10, 1, 2, 3]));
        assert_eq!(addr, Addr::v4(u32::from_ne_bytes([10, 1, 2, 3])));
        assert_eq!(addr.0[2].to_ne_bytes(), [0, 0, 0xff, 0xff]);
    }

    #[test]
    fn multicast_is_recognised_in_both_families() {
        let is = |text: &str| Addr::from(text.parse::<IpAddr>().unwrap()).is_multicast();
        assert!(is("224.0.0.251") && is("239.255.255.250") && is("255.255.255.255") && is("ff02::2"));
        assert!(!is("223.255.255.255") && !is("240.0.0.1") && !is("fe80::1") && !is("fd00::1"));
    }
}
