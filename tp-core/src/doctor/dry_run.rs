//! What a plan of routes would do, told before anything is done.

use ipnet::IpNet;

use super::{Check, Stage};
use crate::conflicts::{CommandLine, Conflict, Explanation, Origin, VirtualSubnetConflict, explain};
use crate::routes::Plan;
use crate::routing::Exit;

/// The plan as checks.
pub fn routes(plan: &Result<Plan, VirtualSubnetConflict>, command: &CommandLine) -> Vec<Check> {
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => {
            return vec![Check::fail(
                Stage::Routes,
                "virtual addresses",
                error.to_string(),
                "name another subnet that nobody uses: `routing.virtualSubnet` in config.yml",
            )];
        }
    };
    if !plan.conflicts.is_empty() {
        let Explanation { message, hint } = explain(&plan.conflicts, command);
        return vec![Check::fail(Stage::Routes, "conflicts", message, hint)];
    }
    let mut checks = Vec::new();
    let routed: Vec<IpNet> = plan.routed.iter().map(|placed| placed.network).collect();
    if !routed.is_empty() {
        checks.push(Check::ok(Stage::Routes, "routed", list(&routed)));
    }
    if !plan.hidden.is_empty() {
        let hidden = plan.hidden.iter().map(|hidden| match &hidden.exit {
            Exit::Manager => hidden.network.to_string(),
            Exit::Workload(name) => format!("{} by {name}", hidden.network),
        });
        let pools: Vec<IpNet> = plan.virtual_subnets.iter().map(|placed| placed.network).collect();
        let says = format!(
            "{} only by names, which lead to addresses out of {}",
            hidden.collect::<Vec<_>>().join(", "),
            list(&pools)
        );
        checks.push(Check::ok(Stage::Routes, "virtual addresses", says));
    }
    if routed.is_empty() && plan.hidden.is_empty() {
        checks.push(Check::note(
            Stage::Routes,
            "routed",
            "no network at all: the manager reports none, or all of them are excluded",
            "see `tp config view` for routing.neverProxySubnets, and the manager's log",
        ));
    }
    if !plan.resolved.is_empty() {
        checks.push(Check::note(
            Stage::Routes,
            "conflicts",
            lines(&plan.resolved, "is hidden behind virtual addresses"),
            "routing.autoResolveConflicts: false makes them errors; --allow-conflicting-subnets takes the network \
             from this machine instead",
        ));
    }
    if !plan.overridden.is_empty() {
        let says = lines(&plan.overridden, "would go to the cluster, as allowed");
        checks.push(Check::note(Stage::Routes, "overridden", says, ""));
    }
    checks
}

/// The same for networks that a cluster seems to have: nothing of it is certain, so nothing of it fails.
pub fn guessed(plan: &Result<Plan, VirtualSubnetConflict>, command: &CommandLine) -> Vec<Check> {
    let uncertain = |check: Check| {
        let says = format!("as far as the cluster tells without a manager: {}", check.says);
        Check::note(check.stage, &check.name, says, check.hint)
    };
    routes(plan, command).into_iter().map(uncertain).collect()
}

fn lines(conflicts: &[Conflict], fate: &str) -> String {
    let line = |conflict: &Conflict| {
        let of = match conflict.origin {
            Origin::Service => "services",
            Origin::Pods => "pods",
            Origin::AlsoProxy => "also-proxy",
            Origin::Virtual => "virtual addresses",
        };
        let part = if conflict.overlap == conflict.subnet {
            format!("{} ({of})", conflict.subnet)
        } else {
            format!("{} of {} ({of})", conflict.overlap, conflict.subnet)
        };
        format!("{part} {fate}: {} is in the way", conflict.way)
    };
    conflicts.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn list(networks: &[IpNet]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
