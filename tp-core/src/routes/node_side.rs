//! Behind which of the workstation's links the cluster itself lives: a forwarded connect from there to a cluster
//! address is the cluster's own, come back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Own;
use super::special::is_default_like;
use super::tables::Tables;
use crate::cluster::ClusterView;
use crate::conflicts::DeviceKind;
use crate::machine::{Route, RouteKind};

pub(super) fn links(view: &ClusterView, own: &Own, tables: &Tables) -> Vec<u32> {
    let nodes = view.node_addresses.iter().filter_map(|ip| tables.specific(*ip));
    // an API server is often a node; one beyond a router tells nothing of the nodes
    let is_neighbour = |ip: &IpAddr| tables.specific(*ip).filter(|route| route.gateway.is_none());
    let api_server = own.transport.iter().filter_map(is_neighbour);
    let pods = tables.consulted().filter(|route| leads_to_pods(route, view, tables));
    let routes = nodes.chain(api_server).chain(pods);
    let links: BTreeSet<u32> =
        routes.filter(|route| route.kind == RouteKind::Unicast).filter_map(|route| route.link).collect();
    links.into_iter().filter(|index| tables.link(Some(*index)).is_none_or(|link| !link.loopback)).collect()
}

/// A route to some of the cluster's pods, as the network plugin of a node on this very machine makes it. A wider one
/// is no news of the pods, and a Docker bridge with the same addresses a coincidence: its containers use our routes.
fn leads_to_pods(route: &Route, view: &ClusterView, tables: &Tables) -> bool {
    !is_default_like(&route.network)
        && view.pod_subnets.iter().any(|pods| pods.contains(&route.network))
        && tables.link(route.link).is_none_or(|link| DeviceKind::of(link) != DeviceKind::DockerBridge)
}
