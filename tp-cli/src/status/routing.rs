//! The part of `tp status` that tells where the cluster's networks met this machine's, and what was done about it.

use serde::Serialize;
use tp_proto::daemon::RoutingStatus;
use tp_proto::daemon::routing_status;

/// Empty lists and zero counters are the usual case, and shown to programs only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Routing {
    /// Networks that names lead to under virtual addresses.
    hidden: Vec<Hidden>,
    conflicts: Vec<Conflict>,
    virtual_subnets: Vec<String>,
    virtual_addresses_in_use: u64,
    recursion: Recursion,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Hidden {
    network: String,
    /// The workload whose agent dials; empty: the manager.
    workload: String,
    /// The pod of the agent in use, and how it is reached; empty while there is none.
    agent: String,
    /// Nobody asked for it: it resolves a conflict.
    automatic: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Conflict {
    subnet: String,
    overlap: String,
    in_the_way: String,
    /// `virtual`, `overridden` or `unresolved`.
    handling: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Recursion {
    node_side: Vec<String>,
    node_side_refused: u64,
    /// Microseconds; 0: off.
    block_us: u64,
    block_refused: u64,
}

impl Routing {
    /// What `tp connect` says about conflicts, once: sentences.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.conflicts.iter().map(Conflict::text).collect();
        if self.conflicts.iter().any(|conflict| conflict.handling == "virtual") {
            notes.push(
                "programs that use those addresses without a name do not reach the cluster; if nothing of yours lives \
                 there, let the cluster go first: --allow-conflicting-subnets"
                    .to_owned(),
            );
        }
        notes
    }

    /// Lines for people; nothing where there is nothing to tell.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        if !self.hidden.is_empty() {
            let hidden: Vec<String> = self.hidden.iter().map(Hidden::text).collect();
            let (pools, used) = (self.virtual_subnets.join(", "), self.virtual_addresses_in_use);
            fields.push(("Virtual", format!("{} as {pools} ({used} in use)", hidden.join(", "))));
        }
        for conflict in &self.conflicts {
            fields.push(("Conflict", conflict.text()));
        }
        let guard = self.recursion.text();
        if !guard.is_empty() {
            fields.push(("Recursion", guard));
        }
        fields
    }
}

impl Hidden {
    fn text(&self) -> String {
        match self.workload.as_str() {
            "" => self.network.clone(),
            workload if self.agent.is_empty() => format!("{} via {workload}", self.network),
            workload => format!("{} via {workload}/{}", self.network, self.agent),
        }
    }
}

impl Conflict {
    fn text(&self) -> String {
        let handling = match self.handling.as_str() {
            "virtual" => "reached under virtual addresses",
            "overridden" => "the cluster goes first, as configured",
            _ => "NOT reachable",
        };
        let place = if self.overlap == self.subnet {
            self.subnet.clone()
        } else {
            format!("{} of {}", self.overlap, self.subnet)
        };
        format!("{place} is also {}: {handling}", self.in_the_way)
    }
}

impl Recursion {
    fn text(&self) -> String {
        let mut parts = Vec::new();
        if !self.node_side.is_empty() {
            parts.push(format!(
                "the cluster's nodes are behind {}, {} connects from there refused",
                self.node_side.join(", "),
                self.node_side_refused
            ));
        }
        if self.block_us > 0 {
            let duration = std::time::Duration::from_micros(self.block_us);
            parts.push(format!("{} connects refused within {duration:?} of another", self.block_refused));
        }
        parts.join("; ")
    }
}

impl From<RoutingStatus> for Routing {
    fn from(status: RoutingStatus) -> Self {
        Self {
            hidden: status.hidden.into_iter().map(Hidden::from).collect(),
            conflicts: status.conflicts.into_iter().map(Conflict::from).collect(),
            virtual_subnets: status.virtual_subnets,
            virtual_addresses_in_use: status.vips,
            recursion: Recursion {
                node_side: status.node_side,
                node_side_refused: status.node_side_refused,
                block_us: status.recursion_block_us,
                block_refused: status.recursion_refused,
            },
        }
    }
}

impl From<routing_status::Hidden> for Hidden {
    fn from(hidden: routing_status::Hidden) -> Self {
        Self {
            network: hidden.network,
            workload: hidden.exit,
            agent: hidden.agent,
            automatic: hidden.automatic,
        }
    }
}

impl From<routing_status::Conflict> for Conflict {
    fn from(conflict: routing_status::Conflict) -> Self {
        Self {
            subnet: conflict.subnet,
            overlap: conflict.overlap,
            in_the_way: conflict.in_the_way,
            handling: conflict.handling,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_in_sentences() {
        let conflict = |overlap: &str, handling: &str| routing_status::Conflict {
            subnet: "10.130.0.0/16".to_owned(),
            overlap: overlap.to_owned(),
            in_the_way: "10.0.0.0/8 dev wg0 (VPN)".to_owned(),
            handling: handling.to_owned(),
        };
        let hidden = |network: &str, exit: &str| routing_status::Hidden {
            network: network.to_owned(),
            exit: exit.to_owned(),
            agent: if exit.is_empty() { String::new() } else { "echo-7d9 (port-forward)".to_owned() },
            automatic: exit.is_empty(),
        };
        let routing = Routing::from(RoutingStatus {
            hidden: vec![hidden("10.130.0.0/16", ""), hidden("127.0.0.0/8", "echo")],
            conflicts: vec![
                conflict("10.130.0.0/16", "virtual"),
                conflict("10.130.4.0/24", "overridden"),
                conflict("10.130.0.0/16", "unresolved"),
            ],
            virtual_subnets: vec!["246.246.0.0/16".to_owned()],
            vips: 3,
            node_side: vec!["virbr0".to_owned()],
            node_side_refused: 2,
            recursion_block_us: 1000,
            recursion_refused: 1,
        });
        insta::assert_snapshot!(crate::output::fields(&routing.fields()), @"
        Virtual:    10.130.0.0/16, 127.0.0.0/8 via echo/echo-7d9 (port-forward) as 246.246.0.0/16 (3 in use)
        Conflict:   10.130.0.0/16 is also 10.0.0.0/8 dev wg0 (VPN): reached under virtual addresses
        Conflict:   10.130.4.0/24 of 10.130.0.0/16 is also 10.0.0.0/8 dev wg0 (VPN): the cluster goes first, as configured
        Conflict:   10.130.0.0/16 is also 10.0.0.0/8 dev wg0 (VPN): NOT reachable
        Recursion:  the cluster's nodes are behind virbr0, 2 connects from there refused; 1 connects refused within 1ms of another
        ");
    }

    #[test]
    fn the_usual_case_needs_no_words() {
        assert_eq!(Routing::from(RoutingStatus::default()).fields(), []);
    }
}
