//! The nodes' own addresses: what comes to a workstation from their side is traffic of the cluster (recursion guard).

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};

use super::follow::follow;
use super::{Report, Surroundings};

/// The right may be given later.
const RETRY: Duration = Duration::from_secs(600);

pub(super) async fn run(client: Client, around: Surroundings, report: Report) {
    let tell = |nodes: Vec<IpAddr>| report.send_modify(|parts| parts.node_addresses = Some(nodes));
    if !around.managed_namespaces.is_empty() {
        // a namespaced manager may not see nodes
        return tell(Vec::new());
    }
    loop {
        let refused = follow(Api::<Node>::all(client.clone()), addresses, |nodes| {
            let mut all: Vec<_> = nodes.values().flatten().copied().collect();
            all.sort();
            all.dedup();
            tell(all);
        })
        .await;
        tracing::info!(?refused, "cannot watch nodes: clients are not told their addresses");
        tell(Vec::new());
        tokio::time::sleep(RETRY).await;
    }
}

fn addresses(node: &Node) -> Vec<IpAddr> {
    let all = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let internal = all.filter(|address| address.type_ == "InternalIP");
    internal.filter_map(|address| address.address.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_addresses_of_both_families_only() {
        let node = serde_json::from_value(serde_json::json!({"status": {"addresses": [
            {"type": "InternalIP", "address": "192.168.49.2"},
            {"type": "InternalIP", "address": "fd00::2"},
            {"type": "InternalIP", "address": "not an address"},
            {"type": "ExternalIP", "address": "203.0.113.7"},
            {"type": "Hostname", "address": "node-1"},
        ]}}))
        .unwrap();
        let expected: Vec<IpAddr> = vec!["192.168.49.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        assert_eq!(addresses(&node), expected);
        assert!(addresses(&Node::default()).is_empty());
    }
}
