//! Which networks a cluster has: from what the API server says, else from what can be seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Where the pod subnets come from (environment POD_CIDR_STRATEGY, facts/telepresence-wire.md §9).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strategy {
    /// The nodes' pod CIDRs if they are what the pods really use, else what covers the pods.
    #[default]
    Auto,
    NodePodCidrs,
    CoverPodIps,
    /// A fixed list.
    Environment,
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "nodePodCIDRs" => Ok(Self::NodePodCidrs),
            "coverPodIPs" => Ok(Self::CoverPodIps),
            "environment" => Ok(Self::Environment),
            other => Err(format!("{other:?} is none of auto, nodePodCIDRs, coverPodIPs, environment")),
        }
    }
}

impl Strategy {
    /// What to watch. Under `Auto` the pods are watched only if the nodes do not tell: in a large cluster they are many.
    pub fn wants_nodes(self) -> bool {
        matches!(self, Self::Auto | Self::NodePodCidrs)
    }
}

/// Whether the nodes' pod CIDRs are the ones in use: some network plugins hand out addresses of their own.
pub fn nodes_tell(own_pod_ips: &[IpAddr], node_cidrs: &[IpNet]) -> bool {
    own_pod_ips.iter().any(|ip| node_cidrs.iter().any(|net| net.contains(ip)))
}

/// The same set of addresses in as few networks as possible, sorted.
pub fn merged(nets: impl IntoIterator<Item = IpNet>) -> Vec<IpNet> {
    let nets: Vec<IpNet> = nets.into_iter().map(|net| net.trunc()).collect();
    let mut merged = IpNet::aggregate(&nets);
    merged.sort();
    merged
}

/// Networks that cover every pod seen so far. It never shrinks: pods come and go, and routes that come and go with them
/// would tear open connections for nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PodCover {
    /// Network addresses of /24s and /64s with a pod in them.
    v4: BTreeSet<Ipv4Addr>,
    v6: BTreeSet<Ipv6Addr>,
}

const V4_NARROWEST: u8 = 24;
const V4_WIDEST: u8 = 16;
const V6_PREFIX: u8 = 64;

impl PodCover {
    /// Adds a pod's address; the caller leaves out pods on the host's network, whose address is the node's. Tells
    /// whether the cover may have grown.
    pub fn add(&mut self, pod: IpAddr) -> bool {
        match pod {
            IpAddr::V4(ip) => self.v4.insert(v4_net(ip, V4_NARROWEST).network()),
            IpAddr::V6(ip) => self.v6.insert(v6_net(ip).network()),
        }
    }

    /// IPv4: per /16, the longest common prefix between /16 and /24. IPv6: each /64.
    pub fn nets(&self) -> Vec<IpNet> {
        let mut groups: BTreeMap<Ipv4Addr, (Ipv4Addr, Ipv4Addr)> = BTreeMap::new();
        for &ip in &self.v4 {
            // sorted: the first of a group is its lowest, the last its highest
            groups.entry(v4_net(ip, V4_WIDEST).network()).or_insert((ip, ip)).1 = ip;
        }
        let v4 = groups.into_values().map(|(low, high)| {
            let common = (low.to_bits() ^ high.to_bits()).leading_zeros();
            let prefix = u8::try_from(common).unwrap_or(V4_NARROWEST).clamp(V4_WIDEST, V4_NARROWEST);
            v4_net(low, prefix).into()
        });
        merged(v4.chain(self.v6.iter().map(|&ip| v6_net(ip).into())))
    }
}

fn v4_net(ip: Ipv4Addr, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(ip, prefix).trunc()
}

fn v6_net(ip: Ipv6Addr) -> Ipv6Net {
    Ipv6Net::new_assert(ip, V6_PREFIX).trunc()
}

/// The service subnets out of the API server's refusal of an address that cannot be valid: "..., the range of valid IPs
/// is 10.96.0.0/16".
pub fn from_refusal(text: &str) -> Vec<IpNet> {
    let Some((_, rest)) = text.split_once("range of valid IPs is") else { return Vec::new() };
    rest.split([' ', ',', ';', '\n', '"', '\''])
        .map(|word| word.trim_matches(|c: char| !c.is_ascii_hexdigit() && c != ':'))
        .filter(|word| !word.is_empty())
        .map_while(|word| word.parse::<IpNet>().ok())
        .map(|net| net.trunc())
        .collect()
}

/// The best guess when nothing but one service's address is known. An IPv6 service range is /108 at its widest, unless
/// the cluster has the ServiceCIDR API, which tells.
pub fn around_service(ip: IpAddr) -> IpNet {
    match ip {
        IpAddr::V4(ip) => v4_net(ip, V4_WIDEST).into(),
        IpAddr::V6(ip) => Ipv6Net::new_assert(ip, 108).trunc().into(),
    }
}

/// A list of networks as environment variables and flags have it: separated by spaces or commas.
pub fn parse_list(text: &str) -> Result<Vec<IpNet>, String> {
    let words = text.split([' ', ',', '\n']).filter(|word| !word.is_empty());
    words
        .map(|word| {
            word.parse::<IpNet>().map(|net| net.trunc()).map_err(|_| format!("{word:?} is no ADDRESS/LENGTH"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets(text: &str) -> Vec<IpNet> {
        parse_list(text).unwrap()
    }

    fn cover(pods: &[&str]) -> Vec<IpNet> {
        let mut cover = PodCover::default();
        for pod in pods {
            cover.add(pod.parse().unwrap());
        }
        cover.nets()
    }

    #[test]
    fn pods_are_covered_between_16_and_24() {
        assert_eq!(cover(&["10.244.0.5"]), nets("10.244.0.0/24"));
        assert_eq!(cover(&["10.244.0.5", "10.244.3.9"]), nets("10.244.0.0/22"));
        assert_eq!(cover(&["10.244.0.5", "10.244.200.9"]), nets("10.244.0.0/16"));
        assert_eq!(cover(&["10.244.0.5", "10.200.0.9"]), nets("10.200.0.0/24 10.244.0.0/24"));
        assert_eq!(cover(&["fd00:1:2:3:4::5", "fd00:1:2:3:9::1"]), nets("fd00:1:2:3::/64"));
        assert_eq!(cover(&[]), []);
    }

    /// The words of Kubernetes 1.27 to 1.32, and an answer without a range.
    #[test]
    fn refusals() {
        let text = "Service \"x\" is invalid: spec.clusterIPs: Invalid value: []string{\"1.1.1.1\"}: failed to \
                    allocate IP 1.1.1.1: the provided IP (1.1.1.1) is not in the valid range. The range of valid \
                    IPs is 10.96.0.0/16";
        assert_eq!(from_refusal(text), nets("10.96.0.0/16"));
        assert_eq!(from_refusal("The range of valid IPs is fd96::/112."), nets("fd96::/112"));
        assert_eq!(
            from_refusal("the range of valid IPs is 10.0.0.0/24, 10.9.0.0/24"),
            nets("10.0.0.0/24 10.9.0.0/24")
        );
        assert_eq!(from_refusal("the provided network does not match the current range"), []);
    }

    #[test]
    fn guesses() {
        assert_eq!(around_service("10.96.0.1".parse().unwrap()), nets("10.96.0.0/16")[0]);
        assert_eq!(around_service("fd96::1".parse().unwrap()), nets("fd96::/108")[0]);
    }

    #[test]
    fn neighbours_are_merged() {
        assert_eq!(merged(nets("10.244.1.0/24 10.244.0.0/24 10.244.0.0/24")), nets("10.244.0.0/23"));
    }

    #[test]
    fn nodes_tell_only_if_they_contain_a_pod() {
        let own = ["10.244.0.7".parse().unwrap()];
        assert!(nodes_tell(&own, &nets("10.244.0.0/24")));
        assert!(!nodes_tell(&own, &nets("10.0.0.0/24")));
        assert!(!nodes_tell(&[], &nets("10.0.0.0/24")));
    }

    proptest! {
        #[test]
        fn every_pod_is_covered_by_a_net_of_allowed_width(pods in proptest::collection::vec(any::<[u8; 4]>(), 0..40)) {
            let mut cover = PodCover::default();
            for (i, pod) in pods.iter().enumerate() {
                // few /16s, so that groups have members
                let ip = Ipv4Addr::new(10, pod[1] % 3, pod[2], pod[3]);
                cover.add(ip.into());
                let nets = cover.nets();
                for seen in pods.iter().take(i + 1).map(|pod| Ipv4Addr::new(10, pod[1] % 3, pod[2], pod[3])) {
                    prop_assert!(nets.iter().any(|net| net.contains(&IpAddr::from(seen))));
                }
                for net in &nets {
                    // merging neighbours may widen beyond /16, but adds no address
                    prop_assert!(net.prefix_len() <= V4_NARROWEST && net.prefix_len() >= 14);
                }
            }
        }

        #[test]
        fn a_growing_cover_loses_nothing(pods in proptest::collection::vec(any::<[u8; 4]>(), 1..20)) {
            let mut cover = PodCover::default();
            let mut before = Vec::new();
            for pod in pods {
                cover.add(Ipv4Addr::new(10, pod[1] % 3, pod[2], pod[3]).into());
                let after = cover.nets();
                for net in &before {
                    prop_assert!(after.iter().any(|wider: &IpNet| wider.contains(net)));
                }
                before = after;
            }
        }

        #[test]
        fn merging_keeps_the_set_of_addresses(list in proptest::collection::vec((any::<u32>(), 8u8..=32), 0..20), probe: u32) {
            let nets: Vec<IpNet> = list
                .into_iter()
                .map(|(ip, prefix)| IpNet::new(Ipv4Addr::from(ip).into(), prefix).unwrap().trunc())
                .collect();
            let merged = merged(nets.clone());
            for ip in nets.iter().flat_map(|net| [net.network(), net.broadcast()]).chain([Ipv4Addr::from(probe).into()]) {
                let inside = |list: &[IpNet]| list.iter().any(|net| net.contains(&ip));
                prop_assert_eq!(inside(&nets), inside(&merged));
            }
        }

        #[test]
        fn a_refusal_of_any_text_is_read_without_panic(text: String) {
            let _ = from_refusal(&text);
            let _ = from_refusal(&format!("range of valid IPs is {text}"));
            let _ = parse_list(&text);
        }
    }
}
