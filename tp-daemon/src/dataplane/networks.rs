//! What is reachable: routes to the TUN on the host, and the same addresses as local ones in the private namespace.

use std::collections::BTreeSet;
use std::io;

use ipnet::IpNet;
use tokio::sync::Mutex;
use tp_core::machine::MAIN;
use tp_core::routes::Placed;

use crate::dataplane::Reach;
use crate::dataplane::namespace::{Change, Namespace};
use crate::dataplane::netlink::{Netlink, Route};
use crate::dataplane::vips::may_live_inside;

pub(super) struct Networks {
    host: Netlink,
    /// Where the networks are local too; `None` without a private namespace.
    namespace: Option<Namespace>,
    tun: u32,
    /// The TUN's own addresses, what apps come from unless they choose another, with the networks in which the DNS
    /// server is.
    sources: Vec<IpNet>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Routes of the host that are ours, by table. None of them outlives the TUN.
    host: BTreeSet<(IpNet, u32)>,
    inside: BTreeSet<IpNet>,
}

impl Networks {
    pub(super) fn new(host: Netlink, namespace: Option<Namespace>, tun: u32, sources: Vec<IpNet>) -> Self {
        Self { host, namespace, tun, sources, state: Mutex::default() }
    }

    /// An address is local inside before it is routed there, and routed there no more before it stops being local.
    /// `now_inside` hears what is local inside, before and after.
    pub(super) async fn set(&self, reach: &Reach, now_inside: impl Fn(Vec<IpNet>) + Send) -> io::Result<()> {
        let mut state = self.state.lock().await;
        let State { host, inside } = &mut *state;
        let placed = || reach.routed.iter().chain(&reach.virtual_subnets);
        let mut host_wanted: BTreeSet<(IpNet, u32)> = placed().flat_map(in_its_tables).collect();
        // a table that swallows the cluster's networks before `main` is asked swallows the DNS server too
        let tables: BTreeSet<(bool, u32)> =
            host_wanted.iter().map(|(net, table)| (is_v4(net), *table)).collect();
        for (v4, table) in tables.into_iter().filter(|(_, table)| *table != MAIN) {
            host_wanted.extend(self.own(v4).map(|network| (network, table)));
        }
        let hidden = reach.inside.iter().filter(|network| may_live_inside(network));
        let inside_wanted: BTreeSet<IpNet> =
            placed().map(|placed| &placed.network).chain(hidden).map(IpNet::trunc).collect();

        // A VPN that starts anew may have emptied its table, and with it our routes in there.
        match self.host.routes_to(self.tun).await {
            Ok(there) => host.retain(|route| there.contains(route)),
            Err(error) => tracing::debug!(%error, "cannot see which of our routes are still there"),
        }
        let mut failed = Vec::new();
        for network in inside_wanted.difference(&inside.clone()) {
            match self.inside(Change::Add, *network).await {
                Ok(()) => drop(inside.insert(*network)),
                Err(error) => {
                    failed.push(format!("making {network} local in the private namespace: {error}"));
                }
            }
        }
        now_inside(inside.intersection(&inside_wanted).copied().collect());
        for (network, table) in host_wanted.difference(&host.clone()) {
            // Routed without being local inside, its connects would hang.
            if inside.contains(network) || self.own(is_v4(network)).any(|own| own == *network) {
                match self.host.add_route(&self.to_tun(*network, *table)).await {
                    Ok(()) => drop(host.insert((*network, *table))),
                    Err(error) => {
                        failed.push(format!("adding the route for {network} to {}: {error}", name(*table)));
                    }
                }
            }
        }
        for (network, table) in host.clone().difference(&host_wanted) {
            match self.host.remove_route(&self.to_tun(*network, *table)).await {
                Ok(()) => drop(host.remove(&(*network, *table))),
                Err(error) => {
                    failed.push(format!("removing the route for {network} from {}: {error}", name(*table)));
                }
            }
        }
        let routed: BTreeSet<IpNet> = host.iter().map(|(network, _)| *network).collect();
        for network in inside.clone().difference(&inside_wanted) {
            if routed.contains(network) {
                continue; // could not be removed, said so above
            }
            match self.inside(Change::Remove, *network).await {
                Ok(()) => drop(inside.remove(network)),
                Err(error) => failed.push(format!("removing {network} from the private namespace: {error}")),
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(io::Error::other(failed.join("; "))) }
    }

    async fn inside(&self, change: Change, network: IpNet) -> io::Result<()> {
        match &self.namespace {
            Some(namespace) => namespace.route(change, Route::Here { network }).await,
            None => Ok(()),
        }
    }

    fn to_tun(&self, network: IpNet, table: u32) -> Route {
        let source = self.sources.iter().find(|source| is_v4(source) == is_v4(&network)).map(IpNet::addr);
        Route::Via { network, link: self.tun, source, table }
    }

    /// Our own networks of that family. In `main` the kernel has made the route itself.
    fn own(&self, v4: bool) -> impl Iterator<Item = IpNet> + '_ {
        self.sources.iter().filter(move |net| is_v4(net) == v4).map(IpNet::trunc)
    }
}

fn is_v4(network: &IpNet) -> bool {
    network.addr().is_ipv4()
}

fn in_its_tables(placed: &Placed) -> impl Iterator<Item = (IpNet, u32)> {
    placed.tables.iter().map(|table| (placed.network.trunc(), *table))
}

fn name(table: u32) -> String {
    if table == MAIN { "the table main".to_owned() } else { format!("the table {table}") }
}
