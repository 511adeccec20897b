//! One decision about routes, carried out: what the cluster offers and what this machine uses go in, the dataplane
//! and the virtual addresses follow, and the kernel is asked whether it is so.

use std::net::IpAddr;

use anyhow::anyhow;
use tp_core::cluster::ClusterView;
use tp_core::conflicts::{CommandLine, Conflict, Explanation, explain};
use tp_core::machine::Machine;
use tp_core::routes::{self, Own, Plan};
use tp_core::routing::Routing;

use crate::dataplane::{Dataplane, Reach};
use crate::failure::{Failure, OrHint};
use crate::machine::{self, Leaving};
use crate::virtual_addresses::VirtualAddresses;

/// Makes cluster networks reachable, as far as this machine's own allow.
pub(super) struct Reacher<D> {
    dataplane: D,
    /// The addresses that the daemon itself talks to.
    transport: Vec<IpAddr>,
    addresses: VirtualAddresses,
    command: CommandLine,
}

/// What was decided last, for `tp status`.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    pub plan: Plan,
    /// What the dataplane was told: virtual addresses that are in use keep their routes longer than the plan does.
    pub reach: Reach,
    /// Names of the interfaces behind which the cluster's nodes live.
    pub node_side: Vec<String>,
    /// Networks that we have routed, and that yet leave elsewhere.
    pub elsewhere: Vec<String>,
}

impl<D: Dataplane> Reacher<D> {
    pub(super) fn new(
        dataplane: &D,
        transport: &[IpAddr],
        addresses: VirtualAddresses,
        command: CommandLine,
    ) -> Self {
        Self { dataplane: dataplane.clone(), transport: transport.to_vec(), addresses, command }
    }

    /// Changes nothing yet.
    pub(super) async fn plan(
        &self,
        view: &ClusterView,
        routing: &Routing,
    ) -> Result<(Plan, Machine), Failure> {
        let machine = machine::look()
            .await
            .or_hint("looking at this machine's routes", "is netlink available here? `ip route` tells")?;
        let own = Own::of(&self.transport, self.dataplane.links(), &machine);
        let plan = routes::plan(view, routing, &machine, &own).map_err(|error| {
            let hint = format!(
                "name another subnet that nobody uses: `routing.virtualSubnet` in config.yml; in use is {}",
                error.conflict.way
            );
            Failure::new(anyhow!(error).context("choosing virtual addresses"), hint)
        })?;
        Ok((plan, machine))
    }

    /// Before anything is changed: what nobody allowed and nothing resolves is an error that names it all.
    pub(super) fn refuse_conflicts(&self, conflicts: &[Conflict]) -> Result<(), Failure> {
        if conflicts.is_empty() {
            return Ok(());
        }
        let Explanation { message, hint } = explain(conflicts, &self.command);
        Err(Failure::new(anyhow!(message), hint))
    }

    /// Virtual addresses that are in use keep their routes, whatever the plan.
    pub(super) async fn carry_out(
        &self,
        plan: Plan,
        machine: &Machine,
        before: Option<&Reach>,
    ) -> Result<Reached, Failure> {
        let mut reach = Reach::from(&plan);
        if let Some(before) = before
            && reach.virtual_subnets.is_empty()
            && self.addresses.in_use() > 0
        {
            reach.virtual_subnets.clone_from(&before.virtual_subnets);
            reach.inside.clone_from(&before.inside);
        }
        self.dataplane
            .set_node_side(&plan.node_side)
            .or_hint("guarding against recursion", "this is a bug; please report it")?;
        self.dataplane.set_reach(&reach).await.or_hint(
            "routing the cluster's networks",
            "`ip route show table all` lists the routes of this machine",
        )?;
        self.addresses.follow(&plan);
        let name = |index: &u32| machine.link(*index).map(|link| link.name.clone());
        let node_side = plan.node_side.iter().filter_map(name).collect();
        let elsewhere = self.elsewhere(&reach, machine).await;
        Ok(Reached { plan, reach, node_side, elsewhere })
    }

    /// The kernel has the last word: rules may send packets elsewhere in ways that no plan knows.
    async fn elsewhere(&self, reach: &Reach, machine: &Machine) -> Vec<String> {
        let (mut found, ours) = (Vec::new(), self.dataplane.links());
        for placed in reach.routed.iter().chain(&reach.virtual_subnets) {
            let sample = placed.network.hosts().next().unwrap_or(placed.network.addr());
            let leaving = match machine::leaves_by(sample).await {
                Ok(Some(leaving)) if leaving.link.is_some_and(|link| ours.contains(&link)) => continue,
                Ok(leaving) => leaving,
                Err(error) => {
                    tracing::debug!(network = %placed.network, %error, "the kernel does not tell the way");
                    continue;
                }
            };
            found.push(format!("{} {}", placed.network, describe(leaving, machine)));
        }
        found
    }
}

fn describe(leaving: Option<Leaving>, machine: &Machine) -> String {
    let Some(leaving) = leaving else { return "has no route".to_owned() };
    let table = leaving.table.map(|table| format!(" by table {table}")).unwrap_or_default();
    match leaving.link.and_then(|link| machine.link(link)) {
        Some(link) => {
            format!("leaves through {}{table}: a rule of this machine goes before our route", link.name)
        }
        None => format!("is thrown away{table} by a rule of this machine ({:?})", leaving.kind),
    }
}
