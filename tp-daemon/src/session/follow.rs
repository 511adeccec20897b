//! Routes and names follow what the manager reports.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tp_core::cluster::ClusterView;
use tp_core::dns::DnsConfig;
use tp_core::routes;

use super::Shared;
use crate::dataplane::{Dataplane, Reach};
use crate::dns::Updater;
use crate::failure::{Failure, OrHint};

pub(super) struct Follower<D> {
    dataplane: D,
    transport: Vec<IpAddr>,
    /// Namespaces that the user may list; those that the manager reports are added.
    namespaces: Vec<String>,
    namespace: String,
}

impl<D: Dataplane> Follower<D> {
    pub(super) fn new(
        dataplane: D,
        transport: Vec<IpAddr>,
        namespaces: Vec<String>,
        namespace: String,
    ) -> Self {
        Self { dataplane, transport, namespaces, namespace }
    }

    pub(super) fn networks(&self, view: &ClusterView) -> Vec<IpNet> {
        routes::wanted(view, &self.transport)
    }

    pub(super) async fn route(&self, networks: &[IpNet]) -> Result<(), Failure> {
        self.dataplane.set_reach(&Reach::networks(networks)).await.or_hint(
            "routing the cluster's networks",
            "another route is in the way: `ip route show table all` lists them; disconnect the VPN that owns it",
        )
    }

    pub(super) fn dns_config(&self, view: &ClusterView) -> DnsConfig {
        let mut namespaces = self.namespaces.clone();
        namespaces.extend(view.namespaces.iter().cloned());
        namespaces.push(self.namespace.clone());
        namespaces.sort();
        namespaces.dedup();
        DnsConfig {
            cluster_domain: view.cluster_domain.clone(),
            namespace: self.namespace.clone(),
            namespaces,
            include_suffixes: view.include_suffixes.clone(),
            exclude_suffixes: view.exclude_suffixes.clone(),
            subnets: self.networks(view),
        }
    }

    /// Follows until the user quits.
    pub(super) async fn run(
        self,
        mut views: watch::Receiver<Option<ClusterView>>,
        dns: Updater,
        shared: Arc<Shared>,
        quit: CancellationToken,
    ) {
        loop {
            tokio::select! {
                changed = views.changed() => if changed.is_err() { return },
                () = quit.cancelled() => return,
            }
            let Some(view) = views.borrow_and_update().clone() else { continue };
            let networks = self.networks(&view);
            tracing::info!(?networks, "the cluster's networks changed");
            if let Err(failure) = self.route(&networks).await {
                tracing::error!(error = failure.message(), "routes do not follow the cluster");
                shared.update(|now| now.last_error = Some(failure.message()));
            }
            shared.update(|now| now.subnets.clone_from(&networks));
            dns.update(self.dns_config(&view)).await;
        }
    }
}
