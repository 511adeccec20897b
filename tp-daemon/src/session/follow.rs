//! Routes and names follow what the manager reports and what changes on this machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tp_core::cluster::ClusterView;
use tp_core::config::Config;
use tp_core::dns::DnsConfig;
use tp_core::routes::Plan;

use super::Shared;
use super::reach::{Reached, Reacher};
use crate::config::Settings;
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
    pub(super) async fn start(&self, view: &ClusterView, config: &Config) -> Result<Reached, Failure> {
        let (plan, machine) = self.reacher.plan(view, &config.routing).await?;
        self.reacher.refuse_conflicts(&plan.conflicts)?;
        self.reacher.carry_out(plan, &machine, None).await
    }

    pub(super) fn dns_config(&self, view: &ClusterView, config: &Config, plan: &Plan) -> DnsConfig {
        let routed = plan.routed.iter().chain(&plan.virtual_subnets);
        let subnets = routed.map(|placed| placed.network).collect();
        config.dns_config(view, &self.namespace, self.namespaces.iter().cloned(), subnets)
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
            let mut views_changed = false;
            tokio::select! {
                changed = views.changed() => match changed {
                    Ok(()) => views_changed = true,
                    Err(_) => return,
                },
                () = machine.changed() => {}
                _ = take_back.tick() => {
                    self.addresses.expire(Instant::now());
                    // the last address of a pool that is not needed any more takes the pool's route along
                    let kept = reached.plan.virtual_subnets.is_empty() && !reached.reach.virtual_subnets.is_empty();
                    if !kept || self.addresses.in_use() > 0 {
                        continue;
                    }
                }
                () = quit.cancelled() => return,
            }
            let Some(view) = views.borrow_and_update().clone() else { continue };
            let config = self.settings.config(&view);
            match self.again(&view, &config, &reached).await {
                Ok(now) => {
                    if now.plan != reached.plan {
                        tracing::info!(plan = ?now.plan, "what is routed has changed");
                    }
                    if now.plan != reached.plan || views_changed {
                        dns.update(self.dns_config(&view, &config, &now.plan)).await;
                    }
                    reached = now;
                    shared.update(|status| (status.view, status.reached) = (view, reached.clone()));
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
    async fn again(&self, view: &ClusterView, config: &Config, before: &Reached) -> Result<Reached, Failure> {
        let (plan, machine) = self.reacher.plan(view, &config.routing).await?;
        for conflict in plan.conflicts.iter().filter(|conflict| !before.plan.conflicts.contains(conflict)) {
            tracing::warn!(?conflict, "a network of the cluster is not reachable any more");
        }
        self.reacher.carry_out(plan, &machine, Some(&before.reach)).await
    }
}
