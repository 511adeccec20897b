//! Routes and names follow what the manager reports and what changes on this machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tp_core::cluster::ClusterView;
use tp_core::dns::DnsConfig;
use tp_core::routes::Plan;

use super::Shared;
use super::reach::{Reached, Reacher};
use super::settings::Settings;
use crate::dataplane::Dataplane;
use crate::dns::Updater;
use crate::failure::Failure;
use crate::machine;
use crate::virtual_addresses::VirtualAddresses;

/// How often virtual addresses that are over are looked for.
const TAKE_BACK: Duration = Duration::from_secs(30);

pub(super) struct Follower<D> {
    pub(super) reacher: Reacher<D>,
    pub(super) addresses: VirtualAddresses,
    pub(super) settings: Settings,
    /// Namespaces that the user may list; those that the manager reports are added.
    pub(super) namespaces: Vec<String>,
    pub(super) namespace: String,
}

impl<D: Dataplane> Follower<D> {
    /// The first time: what cannot be resolved is an error, and nothing has been changed then.
    pub(super) async fn start(&self, view: &ClusterView) -> Result<Reached, Failure> {
        let (plan, machine) = self.reacher.plan(view, &self.settings.config(view).routing).await?;
        self.reacher.refuse_conflicts(&plan.conflicts)?;
        self.reacher.carry_out(plan, &machine, None).await
    }

    pub(super) fn dns_config(&self, view: &ClusterView, plan: &Plan) -> DnsConfig {
        let mut namespaces = self.namespaces.clone();
        namespaces.extend(view.namespaces.iter().cloned());
        namespaces.push(self.namespace.clone());
        namespaces.sort();
        namespaces.dedup();
        let reverse = plan.routed.iter().chain(&plan.virtual_subnets);
        DnsConfig {
            cluster_domain: view.cluster_domain.clone(),
            namespace: self.namespace.clone(),
            namespaces,
            include_suffixes: view.include_suffixes.clone(),
            exclude_suffixes: view.exclude_suffixes.clone(),
            subnets: reverse.map(|placed| placed.network).collect(),
            ..DnsConfig::default()
        }
    }

    /// Follows until the user quits.
    pub(super) async fn run(
        self,
        mut views: watch::Receiver<Option<ClusterView>>,
        mut machine: machine::Watch,
        mut reached: Reached,
        dns: Updater,
        shared: Arc<Shared>,
        quit: CancellationToken,
    ) {
        let mut take_back = tokio::time::interval(TAKE_BACK);
        take_back.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = views.changed() => if changed.is_err() { return },
                () = machine.changed() => {}
                _ = take_back.tick() => {
                    self.addresses.expire(Instant::now());
                    continue;
                }
                () = quit.cancelled() => return,
            }
            let Some(view) = views.borrow_and_update().clone() else { continue };
            match self.again(&view, &reached).await {
                Ok(now) => {
                    if now.plan != reached.plan {
                        tracing::info!(plan = ?now.plan, "what is routed has changed");
                        dns.update(self.dns_config(&view, &now.plan)).await;
                    }
                    reached = now;
                    shared.update(|status| status.reached.clone_from(&reached));
                }
                Err(failure) => {
                    tracing::error!(error = failure.message(), "routes do not follow the cluster");
                    shared.update(|status| status.last_error = Some(failure.message()));
                }
            }
        }
    }

    /// What is in the way from now on is handled by the same policy as on connect, except that it cannot stop what
    /// stands: the networks in conflict are given up, and the status tells.
    async fn again(&self, view: &ClusterView, before: &Reached) -> Result<Reached, Failure> {
        let (plan, machine) = self.reacher.plan(view, &self.settings.config(view).routing).await?;
        for conflict in plan.conflicts.iter().filter(|conflict| !before.plan.conflicts.contains(conflict)) {
            tracing::warn!(?conflict, "a network of the cluster is not reachable any more");
        }
        self.reacher.carry_out(plan, &machine, Some(&before.plan)).await
    }
}
