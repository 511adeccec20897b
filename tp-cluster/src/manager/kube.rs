//! What the API server tells about the cluster: its subnets and namespaces, watched for as long as the manager runs.
//!
//! A right that is missing costs the manager what that right would have told it, never its life.

mod follow;
mod namespaces;
mod nodes;
mod pods;
mod services;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::sync::watch;
use tp_core::subnets::Strategy;

use super::cluster::Networks;
use crate::args::ClusterArgs;

/// The first thing a client hears should be complete; but it hears something even if the API server does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Changes that come together are told together.
const SETTLE: Duration = Duration::from_millis(20);

/// What the watches need to know.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) manager_namespace: String,
    pub(super) own_ips: Vec<IpAddr>,
    /// Cluster addresses of the API server's own service.
    pub(super) kubernetes_service: Vec<IpAddr>,
    pub(super) strategy: Strategy,
    /// For [`Strategy::Environment`].
    pub(super) pod_cidrs: Vec<IpNet>,
    /// Empty: all of them.
    pub(super) managed_namespaces: Vec<String>,
}

/// What is known so far; `None` is not known yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Parts {
    service_subnets: Option<Vec<IpNet>>,
    pod_subnets: Option<Vec<IpNet>>,
    namespaces: Option<Vec<String>>,
    node_addresses: Option<Vec<IpAddr>>,
}

type Report = Arc<watch::Sender<Parts>>;

impl Surroundings {
    pub(super) fn new(args: &ClusterArgs) -> Self {
        let mut own_ips = args.pod_ips.0.clone();
        own_ips.extend(args.pod_ip.0.iter().filter(|ip| !args.pod_ips.0.contains(ip)));
        Self {
            manager_namespace: args.manager_namespace.clone(),
            own_ips,
            kubernetes_service: args.kubernetes_service.0.clone(),
            strategy: args.pod_cidr_strategy,
            pod_cidrs: args.pod_cidrs.0.clone(),
            managed_namespaces: args.managed_namespaces.0.clone(),
        }
    }
}

/// Starts watching. Ends with the runtime.
pub(super) fn watch(client: &Client, around: &Surroundings) -> watch::Receiver<Option<Networks>> {
    let report: Report = Arc::new(watch::Sender::new(Parts::default()));
    let (networks, receiver) = watch::channel(None);
    tokio::spawn(publish(report.subscribe(), networks));
    tokio::spawn(services::run(client.clone(), around.clone(), Arc::clone(&report)));
    tokio::spawn(pods::run(client.clone(), around.clone(), Arc::clone(&report)));
    tokio::spawn(namespaces::run(client.clone(), around.clone(), Arc::clone(&report)));
    tokio::spawn(nodes::run(client.clone(), around.clone(), report));
    receiver
}

/// The UID of the manager's namespace, by which Telepresence clients tell clusters apart.
pub(super) fn cluster_id(client: &Client, namespace: &str, unknown: &str) -> watch::Receiver<String> {
    let (id, receiver) = watch::channel(unknown.to_owned());
    let (api, namespace) = (Api::<Namespace>::all(client.clone()), namespace.to_owned());
    tokio::spawn(async move {
        match api.get(&namespace).await {
            Ok(object) => id.send_modify(|id| *id = object.metadata.uid.unwrap_or_default()),
            Err(error) => tracing::warn!(namespace, %error, "cannot read the manager's namespace"),
        }
    });
    receiver
}

async fn publish(mut parts: watch::Receiver<Parts>, networks: watch::Sender<Option<Networks>>) {
    let complete = |parts: &Parts| missing(parts).is_empty();
    if tokio::time::timeout(PATIENCE, parts.wait_for(complete)).await.is_err() {
        tracing::warn!("the API server has not told everything yet: {}", missing(&parts.borrow()));
    }
    loop {
        let Parts { service_subnets, pod_subnets, namespaces, node_addresses } =
            parts.borrow_and_update().clone();
        let now = Networks {
            service_subnets: service_subnets.unwrap_or_default(),
            pod_subnets: pod_subnets.unwrap_or_default(),
            namespaces: namespaces.unwrap_or_default(),
            node_addresses: node_addresses.unwrap_or_default(),
        };
        networks.send_if_modified(|last| {
            let changed = last.as_ref() != Some(&now);
            if changed {
                tracing::info!(services = ?now.service_subnets, pods = ?now.pod_subnets, namespaces = now.namespaces.len(), nodes = ?now.node_addresses, "cluster networks");
                *last = Some(now);
            }
            changed
        });
        if parts.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(SETTLE).await;
    }
}

fn missing(parts: &Parts) -> String {
    let parts = [
        (parts.service_subnets.is_none(), "service subnets"),
        (parts.pod_subnets.is_none(), "pod subnets"),
        (parts.namespaces.is_none(), "namespaces"),
        (parts.node_addresses.is_none(), "node addresses"),
    ];
    let missing: Vec<_> = parts.iter().filter(|(missing, _)| *missing).map(|(_, what)| *what).collect();
    missing.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(text: &str) -> Option<Vec<IpNet>> {
        Some(tp_core::subnets::parse_list(text).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_told_before_everything_is_known() {
        let parts = watch::Sender::new(Parts::default());
        let (networks, mut told) = watch::channel(None);
        tokio::spawn(publish(parts.subscribe(), networks));
        parts.send_modify(|parts| parts.service_subnets = nets("10.96.0.0/16"));
        parts.send_modify(|parts| parts.namespaces = Some(vec![]));
        parts.send_modify(|parts| parts.node_addresses = Some(vec![]));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(told.borrow_and_update().is_none());
        parts.send_modify(|parts| parts.pod_subnets = nets("10.244.0.0/24"));
        told.changed().await.unwrap();
        assert_eq!(told.borrow_and_update().as_ref().unwrap().pod_subnets, nets("10.244.0.0/24").unwrap());
        parts.send_modify(|parts| parts.pod_subnets = nets("10.244.0.0/23"));
        told.changed().await.unwrap();
        assert_eq!(told.borrow_and_update().as_ref().unwrap().pod_subnets, nets("10.244.0.0/23").unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_comes_is_not_waited_for_for_ever() {
        let parts = watch::Sender::new(Parts { service_subnets: nets("10.96.0.0/16"), ..Parts::default() });
        let (networks, mut told) = watch::channel(None);
        tokio::spawn(publish(parts.subscribe(), networks));
        told.changed().await.unwrap();
        assert_eq!(told.borrow().as_ref().unwrap().service_subnets, nets("10.96.0.0/16").unwrap());
        assert_eq!(missing(&parts.borrow()), "pod subnets, namespaces, node addresses");
    }
}
