//! The networks that a cluster without a manager lets us know, for `tp doctor`.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::ListParams;
use kube::{Api, Client};
use tp_core::cluster::ClusterView;

use super::find::limited;

/// `None` if nothing is told, for want of rights or because nobody knows: a network plugin need not tell the nodes.
pub(super) async fn view(client: &Client) -> Option<ClusterView> {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = limited(nodes.list(&ListParams::default())).await.map(|list| list.items).unwrap_or_default();
    // since Kubernetes 1.33
    let services: Api<ServiceCIDR> = Api::all(client.clone());
    let services =
        limited(services.list(&ListParams::default())).await.map(|list| list.items).unwrap_or_default();
    let view = ClusterView {
        pod_subnets: nodes.iter().flat_map(pod_networks).collect(),
        service_subnets: services
            .iter()
            .filter_map(|services| services.spec.as_ref())
            .flat_map(|spec| parsed(spec.cidrs.as_deref().unwrap_or_default()))
            .collect(),
        node_addresses: nodes.iter().flat_map(addresses).collect(),
        ..ClusterView::default()
    };
    (!view.pod_subnets.is_empty() || !view.service_subnets.is_empty()).then_some(view)
}

fn pod_networks(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let several = spec.pod_cidrs.as_deref().unwrap_or_default();
    if several.is_empty() { parsed(spec.pod_cidr.as_slice()) } else { parsed(several) }
}

fn addresses(node: &Node) -> Vec<IpAddr> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    addresses.filter_map(|address| address.address.parse().ok()).collect()
}

fn parsed(texts: &[String]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
