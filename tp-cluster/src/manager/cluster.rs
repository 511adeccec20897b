//! What clients are told about the cluster, and how they are told of changes.

use std::net::IpAddr;

use futures_util::Stream;
use ipnet::IpNet;
use tokio::sync::watch;
use tp_core::addr::ip_to_bytes;
use tp_proto::manager::{ClusterInfo, Dns, Routing};
use tp_proto::net::net_to_wire;

use crate::args::ClientArgs;

/// Everything that may change while the manager runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Networks {
    pub service_subnets: Vec<IpNet>,
    pub pod_subnets: Vec<IpNet>,
    pub namespaces: Vec<String>,
    /// Of the nodes, sorted; empty if we may not read them.
    pub node_addresses: Vec<IpAddr>,
}

/// What stays as it was at the start.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    /// The manager's own address. A Telepresence client hears nothing before this is known (facts §2.3).
    pub manager_ip: IpAddr,
    pub manager_port: u16,
    /// Without a trailing dot.
    pub cluster_domain: String,
    pub client: ClientArgs,
}

/// The cluster as it is now. Whoever subscribes late or reads slowly misses steps, never the last state.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    fixed: Fixed,
    /// `None` until the first complete state is known.
    networks: watch::Receiver<Option<Networks>>,
}

impl Cluster {
    pub(super) fn new(fixed: Fixed, networks: watch::Receiver<Option<Networks>>) -> Self {
        Self { fixed, networks }
    }

    /// The state now if it is known, then every change.
    pub(super) fn subscribe(&self) -> impl Stream<Item = ClusterInfo> + Send + use<> {
        let fixed = self.fixed.clone();
        let mut networks = self.networks.clone();
        networks.mark_changed();
        futures_util::stream::unfold((networks, fixed, None), async |(mut networks, fixed, last)| {
            loop {
                if networks.changed().await.is_err() {
                    // nothing will ever change again; the client still counts on the stream staying open
                    std::future::pending::<()>().await;
                }
                let now = networks.borrow_and_update().clone();
                if now.is_some() && now != last {
                    let info = fixed.info(now.as_ref()?);
                    return Some((info, (networks, fixed, now)));
                }
            }
        })
    }
}

impl Fixed {
    fn info(&self, networks: &Networks) -> ClusterInfo {
        let wire = |nets: &[IpNet]| nets.iter().copied().map(net_to_wire).collect::<Vec<_>>();
        let ip = bytes::Bytes::from(ip_to_bytes(self.manager_ip));
        ClusterInfo {
            // a Telepresence client knows of one only
            service_subnet: networks.service_subnets.first().copied().map(net_to_wire),
            service_subnets: wire(&networks.service_subnets),
            pod_subnets: wire(&networks.pod_subnets),
            namespaces: networks.namespaces.clone(),
            node_addresses: networks.node_addresses.iter().map(|ip| ip_to_bytes(*ip).into()).collect(),
            manager_pod_ip: ip.clone(),
            manager_pod_port: self.manager_port.into(),
            routing: Some(Routing {
                also_proxy_subnets: wire(&self.client.also_proxy.0),
                never_proxy_subnets: wire(&self.client.never_proxy.0),
                allow_conflicting_subnets: wire(&self.client.allow_conflicting.0),
            }),
            dns: Some(Dns {
                include_suffixes: self.client.dns_include_suffixes.0.clone(),
                exclude_suffixes: self.client.dns_exclude_suffixes.0.clone(),
                kube_ip: ip,
                // with the dot: an empty domain would make a Telepresence client claim every name
                cluster_domain: format!("{}.", self.cluster_domain),
            }),
            ..ClusterInfo::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    fn cluster() -> (watch::Sender<Option<Networks>>, Cluster) {
        use clap::Parser;
        let crate::args::Command::Manager(args) =
            crate::args::Cli::try_parse_from(["tp-traffic", "manager"]).unwrap().command
        else {
            panic!()
        };
        let fixed = Fixed {
            manager_ip: "10.244.0.7".parse().unwrap(),
            manager_port: 8081,
            cluster_domain: "cluster.local".into(),
            client: args.client,
        };
        let (tx, rx) = watch::channel(None);
        (tx, Cluster::new(fixed, rx))
    }

    fn networks(pods: &str) -> Option<Networks> {
        let pod_subnets = tp_core::subnets::parse_list(pods).unwrap();
        Some(Networks { pod_subnets, ..Networks::default() })
    }

    #[tokio::test]
    async fn a_slow_reader_misses_steps_but_not_the_last_state() {
        let (tx, cluster) = cluster();
        let mut early = Box::pin(cluster.subscribe());
        for third in 0..10 {
            tx.send_replace(networks(&format!("10.244.{third}.0/24")));
        }
        let first = early.next().await.unwrap();
        assert_eq!(first.pod_subnets[0].ip, [10, 244, 9, 0][..]);
        // late, and still told at once
        let late = Box::pin(cluster.subscribe()).next().await.unwrap();
        assert_eq!(late, first);
        assert_eq!(late.dns.unwrap().cluster_domain, "cluster.local.");
        assert_eq!(late.manager_pod_ip.len(), 4);
        // the nodes belong to the state
        let nodes = vec!["192.168.49.2".parse().unwrap()];
        tx.send_replace(networks("10.244.9.0/24").map(|now| Networks { node_addresses: nodes, ..now }));
        assert_eq!(early.next().await.unwrap().node_addresses, [&[192, 168, 49, 2][..]]);
        tx.send_replace(networks("10.244.9.0/24"));
        early.next().await.unwrap();
        // the same state again is no news
        tx.send_replace(networks("10.244.9.0/24"));
        tx.send_replace(networks("10.244.0.0/16"));
        assert_eq!(early.next().await.unwrap().pod_subnets[0].mask, 16);
        drop(tx);
        let silence = tokio::time::timeout(std::time::Duration::from_millis(20), early.next());
        assert!(silence.await.is_err());
    }
}
