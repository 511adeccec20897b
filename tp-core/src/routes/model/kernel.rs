//! The kernel's way of finding a route, one packet at a time, written for being read: no outcome is shared.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::machine::{Machine, Route, RouteKind, Rule, RuleAction};

/// What rules may select a packet by, beside its destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packet {
    pub uid: u32,
    pub mark: u32,
    pub source: Option<IpAddr>,
    /// Of those that tp-core does not tell apart.
    pub other: bool,
    /// Forwarded, from eth9.
    pub forwarded: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The route's place among the machine's.
    Route(usize),
    RefusedBy(usize),
    Nothing,
}

/// What the kernel does. `ignores` tells of routes that are asked and yet count for nothing: rule, route.
pub(super) fn lookup(
    machine: &Machine,
    ip: IpAddr,
    packet: Packet,
    ignores: impl Fn(&Rule, &Route) -> bool,
) -> Outcome {
    let mut rules: Vec<(usize, &Rule)> =
        machine.rules.iter().enumerate().filter(|(_, rule)| rule.v6 == ip.is_ipv6()).collect();
    rules.sort_by_key(|(_, rule)| rule.priority);
    let mut at = 0;
    while at < rules.len() {
        let (number, rule) = rules[at];
        at += 1;
        if !matches(rule, ip, packet) {
            continue;
        }
        match rule.action {
            RuleAction::Nop => {}
            RuleAction::Goto(target) => {
                let found = rules.iter().position(|(_, rule)| rule.priority == target);
                at = found.filter(|found| *found >= at).unwrap_or(at);
            }
            RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => {
                return Outcome::RefusedBy(number);
            }
            RuleAction::Table(table) => {
                let Some(found) = longest_prefix(machine, table, ip) else { continue };
                let route = &machine.routes[found];
                let goes = matches!(route.kind, RouteKind::Unicast | RouteKind::Local | RouteKind::Broadcast);
                let suppressed = rule
                    .suppress_prefix_length
                    .is_some_and(|at_most| u32::from(route.network.prefix_len()) <= at_most);
                if route.kind != RouteKind::Throw && !(goes && suppressed) && !ignores(rule, route) {
                    return Outcome::Route(found);
                }
            }
        }
    }
    Outcome::Nothing
}

fn longest_prefix(machine: &Machine, table: u32, ip: IpAddr) -> Option<usize> {
    let is_up = |route: &Route| {
        route.link.is_none_or(|index| machine.links.iter().any(|link| link.index == index && link.up))
    };
    let mut best: Option<(usize, &Route)> = None;
    for (number, route) in machine.routes.iter().enumerate() {
        if route.table != table || !route.network.contains(&ip) || !is_up(route) {
            continue;
        }
        let better = best.is_none_or(|(_, best)| {
            let (length, before) = (route.network.prefix_len(), best.network.prefix_len());
            length > before || (length == before && route.metric < best.metric)
        });
        if better {
            best = Some((number, route));
        }
    }
    best.map(|(number, _)| number)
}

fn matches(rule: &Rule, ip: IpAddr, packet: Packet) -> bool {
    let to = rule.to.is_none_or(|net: IpNet| net.contains(&ip));
    let from = rule.from.is_none_or(|net| packet.source.is_some_and(|source| net.contains(&source)));
    let mark = rule.fwmark.is_none_or(|(value, mask)| packet.mark & mask == value & mask);
    let iif = rule.iif.as_deref().is_none_or(|name| name == if packet.forwarded { "eth9" } else { "lo" });
    let oif = rule.oif.is_none();
    let uid = rule.uids.is_none_or(|(first, last)| (first..=last).contains(&packet.uid));
    let other = !rule.other_selector || packet.other;
    (to && from && mark && iif && oif && uid && other) != rule.invert
}
