//! Which networks are routed through the TUN.
//!
//! Offered subnets, less what must never go through the tunnel: loopback and other special ranges, what the manager
//! excludes, and the addresses of our own transport, which would otherwise carry itself.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::cluster::ClusterView;
use crate::conflicts::{Conflict, VirtualSubnetConflict};
use crate::machine::{MAIN, Machine};
use crate::routing::{Exit, Routing};

/// What is the daemon's own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Own {
    /// The addresses of the API server or manager that the daemon itself talks to.
    pub transport: Vec<IpAddr>,
    /// The indices of tp0 and tpv.
    pub links: Vec<u32>,
    /// The networks of the TUN's own addresses.
    pub tun_networks: Vec<IpNet>,
}

/// What to route where, what to hide behind virtual addresses, and what stands in the way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Disjoint networks.
    pub routed: Vec<Placed>,
    /// Disjoint networks that are reached under virtual addresses only.
    pub hidden: Vec<Hidden>,
    /// The parts of `hidden` whose addresses may be local in the private namespace: nothing on the workstation's side
    /// has an address there.
    pub inside: Vec<IpNet>,
    /// The pools; empty unless something is hidden. They must stay routed as long as a VIP is in use.
    pub virtual_subnets: Vec<Placed>,
    /// Neither allowed nor resolved: nothing may be changed on the machine.
    pub conflicts: Vec<Conflict>,
    /// Hidden behind virtual addresses, by themselves.
    pub resolved: Vec<Conflict>,
    /// Allowed: routed all the same.
    pub overridden: Vec<Conflict>,
    /// Links behind which the cluster's nodes or pods live.
    pub node_side: Vec<u32>,
}

/// A network to route to the TUN, and the tables that need it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    pub network: IpNet,
    /// `main` is the first.
    pub tables: Vec<u32>,
}

/// A network that is reached under virtual addresses only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hidden {
    pub network: IpNet,
    pub exit: Exit,
}

/// Decides everything.
pub fn plan(
    view: &ClusterView,
    routing: &Routing,
    machine: &Machine,
    own: &Own,
) -> Result<Plan, VirtualSubnetConflict> {
    let _ = (routing, machine);
    let routed = wanted(view, &own.transport);
    let routed = routed.into_iter().map(|network| Placed { network, tables: vec![MAIN] }).collect();
    Ok(Plan { routed, ..Plan::default() })
}

/// The networks to route, disjoint, in order. `transport` are the addresses of the API server or manager that the
/// daemon itself talks to.
pub fn wanted(view: &ClusterView, transport: &[IpAddr]) -> Vec<IpNet> {
    let mut nets: Vec<IpNet> = view.offered().map(|net| net.trunc()).filter(routable).collect();
    let holes = view.never_proxy.iter().copied().chain(transport.iter().map(|ip| IpNet::from(*ip)));
    for hole in holes {
        nets = nets.into_iter().flat_map(|net| exclude(net, hole)).collect();
    }
    IpNet::aggregate(&nets)
}

/// What is left of `net` without `hole`: the fewest networks that cover exactly the rest.
pub fn exclude(net: IpNet, hole: IpNet) -> Vec<IpNet> {
    if hole.contains(&net) {
        return Vec::new();
    }
    if !net.contains(&hole) {
        return vec![net]; // disjoint: two networks overlap only by containment
    }
    // halve towards the hole; each time the other half stays
    let mut rest = Vec::new();
    let mut net = net;
    while net != hole {
        let Ok(halves) = net.subnets(net.prefix_len() + 1) else { break };
        let mut inside = None;
        for half in halves {
            if half.contains(&hole) {
                inside = Some(half);
            } else {
                rest.push(half);
            }
        }
        match inside {
            Some(half) => net = half,
            None => break,
        }
    }
    rest
}

/// Default routes, loopback, link-local and multicast ranges never belong to a cluster.
fn routable(net: &IpNet) -> bool {
    const V4: [Ipv4Net; 3] = [
        Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8),
        Ipv4Net::new_assert(std::net::Ipv4Addr::new(169, 254, 0, 0), 16),
        Ipv4Net::new_assert(std::net::Ipv4Addr::new(224, 0, 0, 0), 4),
    ];
    const V6: [Ipv6Net; 3] = [
        Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128),
        Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
        Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
    ];
    net.prefix_len() > 0
        && match net {
            IpNet::V4(net) => !V4.iter().any(|special| special.contains(net) || net.contains(special)),
            IpNet::V6(net) => !V6.iter().any(|special| special.contains(net) || net.contains(special)),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn the_api_server_inside_a_pod_subnet_stays_outside_of_the_tunnel() {
        let view = ClusterView { pod_subnets: vec![net("10.0.0.0/30")], ..ClusterView::default() };
        assert_eq!(wanted(&view, &["10.0.0.2".parse().unwrap()]), [net("10.0.0.0/31"), net("10.0.0.3/32")]);
    }

    #[test]
    fn special_ranges_are_not_routed() {
        for special in
            ["0.0.0.0/0", "::/0", "127.0.0.0/8", "127.1.0.0/16", "169.254.169.254/32", "::1/128", "fe80::/64"]
        {
            let view = ClusterView { also_proxy: vec![net(special)], ..ClusterView::default() };
            assert_eq!(wanted(&view, &[]), [], "{special}");
        }
    }

    #[test]
    fn duplicates_and_neighbours_are_merged() {
        let view = ClusterView {
            service_subnets: vec![net("10.96.0.0/16")],
            pod_subnets: vec![
                net("10.244.0.0/24"),
                net("10.244.1.0/24"),
                net("10.96.3.0/24"),
                net("fd00::/64"),
            ],
            ..ClusterView::default()
        };
        assert_eq!(wanted(&view, &[]), [net("10.96.0.0/16"), net("10.244.0.0/23"), net("fd00::/64")]);
    }

    fn small_net() -> impl Strategy<Value = Ipv4Net> {
        (any::<u8>(), 24u8..=32).prop_map(|(host, len)| {
            Ipv4Net::new(std::net::Ipv4Addr::new(10, 0, 0, host), len).unwrap().trunc()
        })
    }

    proptest! {
        /// The reference model: one bit per address of 10.0.0.0/24.
        #[test]
        fn equals_the_model(
            pods in proptest::collection::vec(small_net(), 0..4),
            never in proptest::collection::vec(small_net(), 0..4),
            api: u8,
        ) {
            let api = IpAddr::from([10, 0, 0, api]);
            let view = ClusterView {
                pod_subnets: pods.iter().copied().map(IpNet::V4).collect(),
                never_proxy: never.iter().copied().map(IpNet::V4).collect(),
                ..ClusterView::default()
            };
            let routed = wanted(&view, &[api]);
            for host in 0..=255u8 {
                let ip = IpAddr::from([10, 0, 0, host]);
                let expected = view.pod_subnets.iter().any(|net| net.contains(&ip))
                    && !view.never_proxy.iter().any(|net| net.contains(&ip))
                    && ip != api;
                prop_assert_eq!(routed.iter().filter(|net| net.contains(&ip)).count(), usize::from(expected));
            }
        }
    }
}
