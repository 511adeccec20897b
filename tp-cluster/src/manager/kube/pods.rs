//! The pod subnets: the nodes' pod CIDRs if those are in use, else what covers the pods.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Client};
use tokio::sync::watch;
use tp_core::subnets::{PodCover, Strategy, merged, nodes_tell};

use super::follow::follow;
use super::{Report, Surroundings};

/// The right may be given later.
const RETRY: Duration = Duration::from_secs(600);

pub(super) async fn run(client: Client, around: Surroundings, report: Report) {
    let tell = |nets: Vec<IpNet>| report.send_modify(|parts| parts.pod_subnets = Some(nets));
    match around.strategy {
        Strategy::Environment => tell(merged(around.pod_cidrs.iter().copied())),
        Strategy::NodePodCidrs => loop {
            let refused = follow(Api::<Node>::all(client.clone()), node_cidrs, |nodes| {
                tell(merged(nodes.values().flatten().copied()));
            })
            .await;
            tracing::warn!(?refused, "cannot watch nodes, so the pod subnets are not known");
            tell(covering(&around.own_ips).nets());
            tokio::time::sleep(RETRY).await;
        },
        // a namespaced manager may not see nodes
        Strategy::Auto if around.managed_namespaces.is_empty() => auto(&client, &around, tell).await,
        Strategy::Auto | Strategy::CoverPodIps => cover(&client, &around, tell).await,
    }
}

/// Pods are watched only once it is clear that the nodes do not tell: in a large cluster they are many.
async fn auto(client: &Client, around: &Surroundings, tell: impl Fn(Vec<IpNet>)) {
    let (told, mut tells) = watch::channel(None);
    let nodes = async {
        let refused = follow(Api::<Node>::all(client.clone()), node_cidrs, |nodes| {
            let nets = merged(nodes.values().flatten().copied());
            let use_them = nodes_tell(&around.own_ips, &nets);
            told.send_if_modified(|told| told.replace(use_them) != Some(use_them));
            if use_them {
                tell(nets);
            }
        })
        .await;
        tracing::info!(?refused, "cannot watch nodes; covering the pods instead");
        told.send_replace(Some(false));
        std::future::pending::<()>().await;
    };
    let pods = async {
        // closed only when `nodes` is gone, and with it this
        while let Ok(Some(nodes_tell)) = tells.wait_for(Option::is_some).await.map(|told| *told) {
            let until = tells.wait_for(|told| *told != Some(nodes_tell));
            if nodes_tell {
                let _ = until.await;
            } else {
                tokio::select! {
                    _ = until => {}
                    () = cover(client, around, &tell) => {}
                }
            }
        }
    };
    tokio::join!(nodes, pods);
}

async fn cover(client: &Client, around: &Surroundings, tell: impl Fn(Vec<IpNet>)) {
    let seen = Mutex::new(covering(&around.own_ips));
    let apis = match around.managed_namespaces.as_slice() {
        [] => vec![Api::<Pod>::all(client.clone())],
        some => some.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect(),
    };
    loop {
        let follow = |api| {
            follow(api, pod_ips, |pods| {
                let mut cover = lock(&seen);
                for ip in pods.values().flatten() {
                    cover.add(*ip);
                }
                tell(cover.nets());
            })
        };
        // ends when all are refused; as long as one is not, that one's pods are known
        let refused = join_all(apis.iter().cloned().map(follow)).await;
        tracing::warn!(?refused, "cannot watch pods: only the networks of pods seen so far are known");
        tell(lock(&seen).nets());
        tokio::time::sleep(RETRY).await;
    }
}

fn covering(ips: &[IpAddr]) -> PodCover {
    let mut cover = PodCover::default();
    for ip in ips {
        cover.add(*ip);
    }
    cover
}

fn lock(seen: &Mutex<PodCover>) -> MutexGuard<'_, PodCover> {
    // nothing panics while it is held
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn node_cidrs(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let many = spec.pod_cidrs.iter().flatten();
    many.chain(&spec.pod_cidr).filter_map(|cidr| cidr.parse().ok()).collect()
}

/// None for a pod on its node's network: the node's address is not part of the pods' networks, and routing it would
/// take the node's own network away from the workstation.
fn pod_ips(pod: &Pod) -> Vec<IpAddr> {
    let on_host = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    let Some(status) = pod.status.as_ref().filter(|_| !on_host) else { return Vec::new() };
    // the address of a pod that has ended may be another's already
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return Vec::new();
    }
    let many = status.pod_ips.iter().flatten().map(|ip| &ip.ip);
    let mut ips: Vec<IpAddr> = many.chain(&status.pod_ip).filter_map(|ip| ip.parse().ok()).collect();
    ips.sort();
    ips.dedup();
    ips
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(json: serde_json::Value) -> Vec<IpAddr> {
        pod_ips(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn pods_on_the_hosts_network_and_ended_ones_do_not_count() {
        let status = serde_json::json!({"podIP": "10.244.0.5", "podIPs": [{"ip": "10.244.0.5"}, {"ip": "fd00::5"}], "phase": "Running"});
        assert_eq!(pod(serde_json::json!({"status": status})).len(), 2);
        assert!(
            pod(serde_json::json!({"spec": {"containers": [], "hostNetwork": true}, "status": status}))
                .is_empty()
        );
        let ended = serde_json::json!({"podIP": "10.244.0.5", "phase": "Succeeded"});
        assert!(pod(serde_json::json!({"status": ended})).is_empty());
        assert!(pod(serde_json::json!({})).is_empty());
        assert!(pod(serde_json::json!({"status": {"podIP": "garbage", "phase": "Running"}})).is_empty());
    }

    #[test]
    fn a_node_has_one_cidr_or_both_families() {
        let node = |spec| node_cidrs(&serde_json::from_value(serde_json::json!({"spec": spec})).unwrap());
        assert_eq!(
            merged(node(
                serde_json::json!({"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24", "fd00::/64"]})
            ))
            .len(),
            2
        );
        assert_eq!(node(serde_json::json!({"podCIDR": "10.244.0.0/24"})).len(), 1);
        assert!(node(serde_json::json!({})).is_empty());
    }
}
