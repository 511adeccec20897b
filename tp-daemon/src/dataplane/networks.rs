//! What is reachable: routes to the TUN on the host, and the same addresses as local ones in the private namespace.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use tokio::sync::Mutex;

use crate::dataplane::Vip;
use crate::dataplane::namespace::{Change, Namespace};
use crate::dataplane::netlink::{Netlink, Route};

pub(super) struct Networks {
    host: Netlink,
    namespace: Namespace,
    tun: u32,
    /// The TUN's own addresses: what apps come from unless they choose another.
    sources: Vec<IpAddr>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    networks: BTreeSet<IpNet>,
    vips: Vec<Vip>,
    on_host: BTreeSet<IpNet>,
    inside: BTreeSet<IpNet>,
}

impl Networks {
    pub(super) fn new(host: Netlink, namespace: Namespace, tun: u32, sources: Vec<IpAddr>) -> Self {
        Self { host, namespace, tun, sources, state: Mutex::default() }
    }

    pub(super) async fn set_networks(&self, networks: &[IpNet]) -> io::Result<()> {
        let mut state = self.state.lock().await;
        state.networks = networks.iter().map(IpNet::trunc).collect();
        self.apply(&mut state).await
    }

    /// A VIP needs a route to the TUN, and what it stands for must be local inside.
    pub(super) async fn set_vips(&self, vips: &[Vip]) -> io::Result<()> {
        let mut state = self.state.lock().await;
        state.vips = vips.to_vec();
        self.apply(&mut state).await
    }

    /// An address is local inside before it is routed there, and routed there no more before it stops being local.
    async fn apply(&self, state: &mut State) -> io::Result<()> {
        let State { networks, vips, on_host, inside } = state;
        let covered = |ip: IpAddr| networks.iter().any(|network| network.contains(&ip));
        let single = |ip: IpAddr| (!covered(ip)).then(|| IpNet::from(ip));
        let host_wanted: BTreeSet<IpNet> =
            networks.iter().copied().chain(vips.iter().filter_map(|vip| single(vip.vip))).collect();
        let inside_wanted: BTreeSet<IpNet> =
            networks.iter().copied().chain(vips.iter().filter_map(|vip| single(vip.cluster))).collect();

        let mut failed = Vec::new();
        for network in inside_wanted.difference(&inside.clone()) {
            let added = self.namespace.route(Change::Add, Route::Here { network: *network }).await;
            note(added, network, inside, &mut failed);
        }
        for network in host_wanted.difference(&on_host.clone()) {
            if host_may_have(network, inside, vips) {
                note(self.host.add_route(&self.to_tun(*network)).await, network, on_host, &mut failed);
            }
        }
        for network in on_host.clone().difference(&host_wanted) {
            self.host.remove_route(&self.to_tun(*network)).await?;
            on_host.remove(network);
        }
        for network in inside.clone().difference(&inside_wanted) {
            self.namespace.route(Change::Remove, Route::Here { network: *network }).await?;
            inside.remove(network);
        }
        if failed.is_empty() { Ok(()) } else { Err(io::Error::other(failed.join("; "))) }
    }

    fn to_tun(&self, network: IpNet) -> Route {
        let source = self.sources.iter().copied().find(|source| source.is_ipv4() == network.addr().is_ipv4());
        Route::Via { network, link: self.tun, source }
    }
}

/// A network that could not be made local inside must not be routed there: its connects would hang.
fn host_may_have(network: &IpNet, inside: &BTreeSet<IpNet>, vips: &[Vip]) -> bool {
    inside.contains(network) || vips.iter().any(|vip| IpNet::from(vip.vip) == *network)
}

fn note(added: io::Result<()>, network: &IpNet, routes: &mut BTreeSet<IpNet>, failed: &mut Vec<String>) {
    match added {
        Ok(()) => {
            routes.insert(*network);
        }
        Err(error) => failed.push(format!("adding a route for {network}: {error}")),
    }
}
