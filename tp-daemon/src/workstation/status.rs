//! What `tp status` is told.

use tp_core::conflicts::Conflict;
use tp_core::routes::{Hidden, Placed};
use tp_core::routing::Exit;
use tp_core::session::State;
use tp_proto::daemon::{DnsStatus, RoutingStatus, StatusReply, routing_status};

use super::Kind;
use crate::dataplane::{Dataplane, TUN_NAME};
use crate::exits::WorkloadStatus;
use crate::session::Status;

pub(super) fn reply(status: Status, dataplane: &impl Dataplane, kind: &Kind) -> StatusReply {
    let routing = routing(&status, dataplane);
    let elsewhere = status.reached.elsewhere.iter().map(|network| format!("not reachable: {network}"));
    let (manager_name, manager_version) =
        status.manager.rsplit_once(' ').unwrap_or((status.manager.as_str(), ""));
    StatusReply {
        state: match status.state {
            State::Connecting => "connecting",
            State::Connected => "connected",
            State::Reconnecting => "reconnecting",
            State::Left => "quitting",
        }
        .to_owned(),
        dataplane: kind.name.to_owned(),
        dataplane_reason: kind.reason.clone().unwrap_or_default(),
        context: status.context,
        server: status.server,
        namespace: status.namespace,
        manager_namespace: status.manager_namespace,
        manager_name: manager_name.to_owned(),
        manager_version: manager_version.to_owned(),
        session: status.session,
        device: TUN_NAME.to_owned(),
        device_addresses: kind.device_addresses.clone(),
        subnets: networks(&status.reached.plan.routed),
        dns: Some(DnsStatus {
            mode: status.dns.mode,
            addresses: status.dns.addresses.iter().map(ToString::to_string).collect(),
            cluster_domain: status.dns.cluster_domain,
            suffixes: status.dns.suffixes,
        }),
        tcp_flows: status.tcp_flows,
        udp_flows: status.udp_flows,
        connected_seconds: status.since.elapsed().as_secs(),
        notes: elsewhere.chain(status.notes).chain(status.dns.notes).collect(),
        last_error: status.last_error.unwrap_or_default(),
        routing: Some(routing),
        ..StatusReply::default()
    }
}

fn routing(status: &Status, dataplane: &impl Dataplane) -> RoutingStatus {
    let plan = &status.reached.plan;
    let counters = dataplane.counters();
    let count =
        |name: &str| counters.iter().find(|(counter, _)| *counter == name).map_or(0, |(_, count)| *count);
    let resolved = plan.resolved.iter().map(|conflict| told(conflict, "virtual"));
    let overridden = plan.overridden.iter().map(|conflict| told(conflict, "overridden"));
    let unresolved = plan.conflicts.iter().map(|conflict| told(conflict, "unresolved"));
    RoutingStatus {
        hidden: plan.hidden.iter().map(|network| hidden(network, &plan.resolved, &status.exits)).collect(),
        conflicts: unresolved.chain(resolved).chain(overridden).collect(),
        virtual_subnets: networks(&plan.virtual_subnets),
        vips: status.virtual_addresses as u64,
        node_side: status.reached.node_side.clone(),
        node_side_refused: count("from_app.node_side_refused") + count("from_app.node_side_to_daemon"),
        recursion_block_us: u64::try_from(status.recursion_block.as_micros()).unwrap_or(u64::MAX),
        recursion_refused: count("from_app.recursion_refused") + count("from_app.recursion_to_daemon"),
    }
}

fn hidden(hidden: &Hidden, resolved: &[Conflict], exits: &[WorkloadStatus]) -> routing_status::Hidden {
    let agent = |name: &str| exits.iter().find(|exit| exit.workload == name)?.agent.clone();
    routing_status::Hidden {
        network: hidden.network.to_string(),
        exit: match &hidden.exit {
            Exit::Manager => String::new(),
            Exit::Workload(name) => name.clone(),
        },
        agent: match &hidden.exit {
            Exit::Manager => String::new(),
            Exit::Workload(name) => agent(name).unwrap_or_default(),
        },
        automatic: resolved.iter().any(|conflict| conflict.overlap.contains(&hidden.network)),
    }
}

fn told(conflict: &Conflict, handling: &str) -> routing_status::Conflict {
    routing_status::Conflict {
        subnet: conflict.subnet.to_string(),
        overlap: conflict.overlap.to_string(),
        in_the_way: conflict.way.to_string(),
        handling: handling.to_owned(),
    }
}

fn networks(placed: &[Placed]) -> Vec<String> {
    placed.iter().map(|placed| placed.network.to_string()).collect()
}
