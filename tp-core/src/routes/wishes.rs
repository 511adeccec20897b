//! What is wanted of an address, before anybody has looked at the machine's routes.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Own;
use super::special::{SPECIAL, is_special};
use crate::cluster::ClusterView;
use crate::conflicts::Origin;
use crate::machine::Machine;
use crate::routing::{Exit, Proxied, Routing};

/// All settings about networks, of the user and of the cluster.
pub(super) struct Wishes {
    wanted: Vec<(IpNet, Origin)>,
    never: Vec<IpNet>,
    via: Vec<(IpNet, Exit)>,
    allowed: Vec<IpNet>,
    /// No cluster address is looked for in the virtual addresses, however wide a proxy-via network is.
    pools: [IpNet; 2],
    /// The daemon's transport, the machine's resolvers, the TUN's networks: never swallowed, whatever the settings.
    holes: Vec<IpNet>,
}

/// What is wanted of one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    Nothing,
    /// As part of this subnet of the cluster.
    Routed {
        subnet: IpNet,
        origin: Origin,
    },
    Hidden(Exit),
}

impl Wishes {
    pub(super) fn of(view: &ClusterView, routing: &Routing, machine: &Machine, own: &Own) -> Self {
        let also = networks(&[&view.also_proxy, &routing.also_proxy]);
        let service = networks(&[&view.service_subnets]);
        let pods = networks(&[&view.pod_subnets]);
        let of = |nets: &[IpNet], origin| nets.iter().map(move |net| (*net, origin)).collect::<Vec<_>>();
        // the first of equally specific ones is named in conflicts
        let wanted =
            [of(&service, Origin::Service), of(&pods, Origin::Pods), of(&also, Origin::AlsoProxy)].concat();
        let mut via = Vec::new();
        for entry in &routing.proxy_via {
            let nets = match entry.what {
                Proxied::Net(net) => vec![net.trunc()],
                Proxied::Also => also.clone(),
                Proxied::Service => service.clone(),
                Proxied::Pods => pods.clone(),
                Proxied::All => [also.clone(), service.clone(), pods.clone()].concat(),
            };
            via.extend(nets.into_iter().map(|net| (net, entry.exit.clone())));
        }
        let own_addresses = own.transport.iter().chain(&machine.resolvers).copied().map(IpNet::from);
        Self {
            pools: [routing.virtual_subnet_v4.trunc().into(), routing.virtual_subnet_v6.trunc().into()],
            wanted,
            never: truncated(&[&view.never_proxy, &routing.never_proxy]),
            via,
            allowed: truncated(&[&view.allow_conflicting, &routing.allow_conflicting]),
            holes: own_addresses.chain(own.tun_networks.iter().map(IpNet::trunc)).collect(),
        }
    }

    /// The most specific network decides; never-proxy wins among equals. A proxy-via network hides whatever it
    /// contains: it is how a whole VPN's range is given to the cluster's names without touching the VPN.
    pub(super) fn of_address(&self, ip: IpAddr) -> Wish {
        if self.holes.iter().any(|hole| hole.contains(&ip)) {
            return Wish::Nothing;
        }
        let wanted = longest(self.wanted.iter().filter(|(net, _)| net.contains(&ip)), |(net, _)| *net);
        let via = longest(self.via.iter().filter(|(net, _)| net.contains(&ip)), |(net, _)| *net);
        let never = longest(self.never.iter().filter(|net| net.contains(&ip)), |net| **net);
        let for_it = wanted.map(|(net, _)| net.prefix_len()).max(via.map(|(net, _)| net.prefix_len()));
        if never.map(IpNet::prefix_len) >= for_it {
            return Wish::Nothing; // also where nothing is for it
        }
        match (via, wanted) {
            (Some(_), None) if self.pools.iter().any(|pool| pool.contains(&ip)) => Wish::Nothing,
            (Some((_, exit)), _) => Wish::Hidden(exit.clone()),
            (None, Some((subnet, origin))) if !is_special(ip) => {
                Wish::Routed { subnet: *subnet, origin: *origin }
            }
            (None, _) => Wish::Nothing,
        }
    }

    /// The widest network around `ip` in which the user lets the cluster win.
    pub(super) fn allowed(&self, ip: IpAddr) -> Option<IpNet> {
        let around = self.allowed.iter().copied().filter(|net| net.contains(&ip));
        around.min_by_key(IpNet::prefix_len)
    }

    /// Everything that may be routed or hidden lies in one of these.
    pub(super) fn roots(&self) -> Vec<IpNet> {
        self.wanted.iter().map(|(net, _)| *net).chain(self.via.iter().map(|(net, _)| *net)).collect()
    }

    /// Where the answers may change, beside the roots.
    pub(super) fn boundaries(&self) -> Vec<IpNet> {
        [self.never.as_slice(), &self.allowed, &self.holes, &self.pools, &SPECIAL].concat()
    }

    /// The subnet of the cluster that overlaps with `net`, if one does.
    pub(super) fn overlapping(&self, net: IpNet) -> Option<(IpNet, Origin)> {
        self.wanted.iter().copied().find(|(wanted, _)| wanted.contains(&net) || net.contains(wanted))
    }

    pub(super) fn holes(&self) -> &[IpNet] {
        &self.holes
    }
}

/// A default route is no subnet of a cluster, however it came into a list.
fn networks(lists: &[&[IpNet]]) -> Vec<IpNet> {
    truncated(lists).into_iter().filter(|net| net.prefix_len() > 0).collect()
}

fn truncated(lists: &[&[IpNet]]) -> Vec<IpNet> {
    lists.concat().iter().map(IpNet::trunc).collect()
}

/// The first of the most specific ones.
fn longest<T>(candidates: impl Iterator<Item = T>, net: impl Fn(&T) -> IpNet) -> Option<T> {
    candidates.fold(None, |best: Option<T>, next| match best {
        Some(best) if net(&best).prefix_len() >= net(&next).prefix_len() => Some(best),
        _ => Some(next),
    })
}
