//! Networks with a meaning of their own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A default route, or one of the parts that VPNs cut it into (OpenVPN's `def1`): it stands for "everything else", and
/// takes part in no conflict.
pub fn is_default_like(net: &IpNet) -> bool {
    const GLOBAL_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
    net.prefix_len() <= 1 || *net == IpNet::V6(GLOBAL_V6)
}

/// Ranges that belong to no cluster: "this host", loopback, link-local, multicast, broadcast.
pub(super) const SPECIAL: [IpNet; 10] = [
    v4([0, 0, 0, 0], 8),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([224, 0, 0, 0], 4),
    v4([255, 255, 255, 255], 32),
    v6(0, 0, 128),
    v6(0, 1, 128),
    // IPv4 in the clothes of IPv6
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96)),
    v6(0xfe80, 0, 10),
    v6(0xff00, 0, 8),
];

pub(super) fn is_special(ip: IpAddr) -> bool {
    SPECIAL.iter().any(|net| net.contains(&ip))
}

const fn v4(ip: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]), length))
}

const fn v6(first: u16, last: u16, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last), length))
}
