//! Reverse lookups: names under in-addr.arpa and ip6.arpa, and the zones that cover a network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::Name;

/// A network between two zone cuts needs several zones; with more than this, the zones become one cut wider.
const MAX_ZONES: u32 = 32;

/// The address of a complete reverse name; zones and malformed names have none.
pub fn address(name: &Name) -> Option<IpAddr> {
    let name = name.as_str();
    if let Some(rest) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0; 4];
        let mut labels = rest.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = decimal(labels.next()?)?;
        }
        return labels.next().is_none().then(|| Ipv4Addr::from(octets).into());
    }
    let mut bits = 0u128;
    let mut labels = name.strip_suffix(".ip6.arpa")?.split('.');
    for nibble in 0..32 {
        bits |= u128::from(hex(labels.next()?)?) << (4 * nibble);
    }
    labels.next().is_none().then(|| Ipv6Addr::from(bits).into())
}

/// The reverse name of an address, without a trailing dot.
pub fn name(ip: IpAddr) -> String {
    zone(ip, if ip.is_ipv4() { 32 } else { 128 })
}

/// Zones that together hold the reverse names of every address of the network, and as few others as possible.
pub fn zones(network: IpNet) -> Vec<String> {
    let (cut, max) = match network {
        IpNet::V4(_) => (8, 32),
        IpNet::V6(_) => (4, 128),
    };
    let wider = network.prefix_len() / cut * cut;
    let narrower = network.prefix_len().div_ceil(cut) * cut;
    let exact = narrower <= max && 1u32 << (narrower - network.prefix_len()) <= MAX_ZONES;
    let prefix_len = if exact { narrower } else { wider };
    if prefix_len <= network.prefix_len() {
        let network = IpNet::new(network.addr(), prefix_len).unwrap_or(network);
        return vec![zone(network.network(), prefix_len)];
    }
    match network.subnets(prefix_len) {
        Ok(subnets) => subnets.map(|subnet| zone(subnet.addr(), prefix_len)).collect(),
        Err(_) => Vec::new(),
    }
}

fn zone(address: IpAddr, prefix_len: u8) -> String {
    let mut name = String::new();
    match address {
        IpAddr::V4(v4) => {
            for octet in v4.octets()[..usize::from(prefix_len / 8)].iter().rev() {
                name.push_str(&format!("{octet}."));
            }
            name.push_str("in-addr.arpa");
        }
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            for nibble in (0..prefix_len / 4).rev() {
                name.push_str(&format!("{:x}.", bits >> (124 - 4 * nibble) & 0xf));
            }
            name.push_str("ip6.arpa");
        }
    }
    name
}

fn decimal(label: &str) -> Option<u8> {
    let canonical = label.len() == 1 || !label.starts_with('0');
    (canonical && label.bytes().all(|byte| byte.is_ascii_digit())).then(|| label.parse().ok())?
}

fn hex(label: &str) -> Option<u8> {
    let &[digit] = label.as_bytes() else { return None };
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reverse(ip: IpAddr) -> Name {
        Name::parse(&name(ip)).unwrap()
    }

    #[test]
    fn addresses_are_read_backwards() {
        let of = |text: &str| address(&Name::parse(text).unwrap()).map(|ip| ip.to_string());
        assert_eq!(of("4.3.2.10.in-addr.arpa").as_deref(), Some("10.2.3.4"));
        assert_eq!(of(&format!("1.{}d.f.ip6.arpa", "0.".repeat(29))).as_deref(), Some("fd00::1"));
        for other in [
            "2.10.in-addr.arpa",
            "1.4.3.2.10.in-addr.arpa",
            "04.3.2.10.in-addr.arpa",
            "arpa",
            "256.1.1.1.in-addr.arpa",
            "+1.1.1.1.in-addr.arpa",
            "1.ip6.arpa",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn networks_between_cuts_get_several_zones() {
        let of = |text: &str| zones(text.parse().unwrap());
        assert_eq!(of("10.244.0.0/16"), ["244.10.in-addr.arpa"]);
        assert_eq!(of("10.96.0.0/12").len(), 16);
        assert_eq!(of("10.96.0.0/12")[15], "111.10.in-addr.arpa");
        assert_eq!(of("10.0.0.0/9"), ["10.in-addr.arpa"]);
        assert_eq!(of("10.1.2.3/32"), ["3.2.1.10.in-addr.arpa"]);
        assert_eq!(of("fd96::/108").len(), 1);
        assert_eq!(of("fd00::/9").len(), 8);
        assert_eq!(of("0.0.0.0/0"), ["in-addr.arpa"]);
    }

    proptest! {
        #[test]
        fn every_address_survives(v4 in any::<u32>(), v6 in any::<u128>()) {
            for ip in [IpAddr::from(Ipv4Addr::from(v4)), Ipv6Addr::from(v6).into()] {
                prop_assert_eq!(address(&reverse(ip)), Some(ip));
            }
        }

        #[test]
        fn the_zones_of_a_network_hold_all_its_addresses(v4 in any::<u32>(), v4_len in 0u8..=32, v6 in any::<u128>(), v6_len in 0u8..=128) {
            for network in [IpNet::new(Ipv4Addr::from(v4).into(), v4_len).unwrap(), IpNet::new(Ipv6Addr::from(v6).into(), v6_len).unwrap()] {
                let zones: Vec<Name> = zones(network).iter().map(|zone| Name::parse(zone).unwrap()).collect();
                prop_assert!(zones.len() <= MAX_ZONES as usize);
                for ip in [network.network(), network.addr(), network.broadcast()] {
                    prop_assert!(zones.iter().any(|zone| reverse(ip).is_under(zone)), "{} {:?}", ip, zones);
                }
            }
        }
    }
}
