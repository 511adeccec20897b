//! Which addresses the TUN gets: a small network that nobody on the workstation uses.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A /30 out of the benchmarking range (RFC 2544), which no network should use, then private ranges.
const CANDIDATES: &[[u8; 4]] =
    &[[198, 18, 84, 112], [198, 19, 84, 112], [10, 84, 112, 112], [172, 28, 84, 112], [192, 168, 184, 112]];

/// The device's own address and the DNS server's beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TunAddresses<Net, Addr> {
    pub device: Net,
    pub dns: Addr,
}

/// The first candidate that overlaps none of `taken`: the workstation's routes and addresses. Default routes cover
/// everything and do not count.
pub fn pick_v4(taken: &[IpNet]) -> Option<TunAddresses<Ipv4Net, Ipv4Addr>> {
    let addresses = |[a, b, c, d]: [u8; 4]| {
        let device = Ipv4Net::new(Ipv4Addr::new(a, b, c, d + 1), 30).ok()?;
        Some(TunAddresses { device, dns: Ipv4Addr::new(a, b, c, d + 2) })
    };
    CANDIDATES.iter().filter_map(|net| addresses(*net)).find(|found| is_free(found.device.into(), taken))
}

/// Ours out of the unique local addresses (RFC 4193); a machine that uses the very same goes without IPv6.
pub fn pick_v6(taken: &[IpNet]) -> Option<TunAddresses<Ipv6Net, Ipv6Addr>> {
    let address = |last| Ipv6Addr::new(0xfd74, 0x7074, 0, 0, 0, 0, 0, last);
    let device = Ipv6Net::new(address(1), 126).ok()?;
    is_free(device.into(), taken).then_some(TunAddresses { device, dns: address(2) })
}

fn is_free(net: IpNet, taken: &[IpNet]) -> bool {
    let overlaps = |other: &IpNet| net.contains(&other.network()) || other.contains(&net.network());
    !taken.iter().any(|other| other.prefix_len() > 0 && overlaps(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(nets: &[&str]) -> Vec<IpNet> {
        nets.iter().map(|net| net.parse().unwrap()).collect()
    }

    #[test]
    fn a_network_in_use_is_left_alone() {
        let device = |taken: &[&str]| pick_v4(&nets(taken)).map(|found| found.device.to_string());
        assert_eq!(device(&["0.0.0.0/0", "10.0.0.0/8"]).as_deref(), Some("198.18.84.113/30"));
        assert_eq!(device(&["198.18.0.0/15"]).as_deref(), Some("10.84.112.113/30"));
        assert_eq!(device(&["198.18.84.114/32"]).as_deref(), Some("198.19.84.113/30"));
        assert_eq!(device(&["0.0.0.0/1", "128.0.0.0/1"]), None);
        assert!(pick_v6(&nets(&["::/0", "fe80::/64"])).is_some());
        assert!(pick_v6(&nets(&["fd74:7074::/64"])).is_none());
    }

    #[test]
    fn device_and_dns_share_the_network() {
        let v4 = pick_v4(&[]).unwrap();
        assert!(v4.device.contains(&v4.dns) && v4.dns != v4.device.addr());
        let v6 = pick_v6(&[]).unwrap();
        assert!(v6.device.contains(&v6.dns) && v6.dns != v6.device.addr());
    }
}
