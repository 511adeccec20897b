//! Random machines, clusters and settings around 32 addresses, in either family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::cluster::ClusterView;
use crate::machine::{LOCAL, Link, MAIN, Machine, Route, RouteKind, Rule, RuleAction};
use crate::routes::Own;
use crate::routing::{Exit, Proxied, ProxyVia, Routing};

pub(super) const HOSTS: u8 = 32;
/// Ours; the others are up but number 4.
pub(super) const TUN: u32 = 9;
/// The user of the one rule about users.
pub(super) const USER: u32 = 1000;

#[derive(Clone, Debug)]
pub(super) struct Input {
    pub v6: bool,
    pub view: ClusterView,
    pub routing: Routing,
    pub machine: Machine,
    pub own: Own,
}

pub(super) fn address(v6: bool, host: u8) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host.into()).into()
    } else {
        Ipv4Addr::new(10, 0, 0, host).into()
    }
}

/// The address that packets have once they are routed to the TUN.
pub(super) fn source(v6: bool) -> IpAddr {
    address(v6, 200)
}

pub(super) fn input() -> impl Strategy<Value = Input> {
    any::<bool>().prop_flat_map(|v6| {
        (clusters(v6), settings(v6), machines(v6), vec(0..HOSTS, 0..2)).prop_map(
            move |(view, routing, machine, transport)| {
                let own = Own {
                    transport: transport.into_iter().map(|host| address(v6, host)).collect(),
                    links: vec![TUN],
                    tun_networks: vec![source(v6).into()],
                };
                Input { v6, view, routing, machine, own }
            },
        )
    })
}

/// Of 1 to 32 addresses.
fn net(v6: bool) -> impl Strategy<Value = IpNet> {
    (0..HOSTS, 0u8..=5).prop_map(move |(host, size)| {
        let longest = if v6 { 128 } else { 32 };
        IpNet::new(address(v6, host), longest - size).unwrap().trunc()
    })
}

fn clusters(v6: bool) -> impl Strategy<Value = ClusterView> {
    let nets = move |most| vec(net(v6), 0..most);
    (nets(2), nets(3), nets(2), nets(2), nets(2)).prop_map(|(services, pods, also, never, allow)| {
        ClusterView {
            service_subnets: services,
            pod_subnets: pods,
            also_proxy: also,
            never_proxy: never,
            allow_conflicting: allow,
            ..ClusterView::default()
        }
    })
}

fn settings(v6: bool) -> impl Strategy<Value = Routing> {
    let nets = move |most| vec(net(v6), 0..most);
    let what = prop_oneof![
        4 => net(v6).prop_map(Proxied::Net),
        1 => Just(Proxied::Also),
        1 => Just(Proxied::Service),
        1 => Just(Proxied::Pods),
        1 => Just(Proxied::All),
    ];
    let exit = prop_oneof![Just(Exit::Manager), "[ab]".prop_map(Exit::Workload)];
    let via = (what, exit).prop_map(|(what, exit)| ProxyVia { what, exit });
    (nets(2), nets(2), nets(3), vec(via, 0..2), any::<bool>()).prop_map(
        |(also_proxy, never_proxy, allow_conflicting, proxy_via, auto_resolve)| Routing {
            also_proxy,
            never_proxy,
            allow_conflicting,
            proxy_via,
            auto_resolve,
            ..Routing::default()
        },
    )
}

fn machines(v6: bool) -> impl Strategy<Value = Machine> {
    (vec(route(v6), 0..8), vec(local(v6), 0..2), vec(rule(v6), 0..4), vec(0..HOSTS, 0..2)).prop_map(
        move |(mut routes, local, extra, resolvers)| {
            routes.extend(local);
            let mut rules: Vec<Rule> =
                [(0, LOCAL), (32766, MAIN)].map(|(priority, table)| Rule::lookup(v6, priority, table)).into();
            for rule in extra {
                // two rules about the same packets are about each other; one of each kind is what machines have
                let partial = |rule: &Rule| {
                    (rule.uids.is_some(), rule.other_selector, rule.from == Some(source(v6).into()))
                };
                let (uids, other, from) = partial(&rule);
                let refuses = matches!(rule.action, RuleAction::Blackhole | RuleAction::Prohibit);
                let again = rules
                    .iter()
                    .map(partial)
                    .any(|had| (uids && had.0) || (other && had.1) || (from && had.2));
                if !again && !(refuses && (uids || other || from)) {
                    rules.push(rule);
                }
            }
            let link =
                |index: u32| Link { index, name: format!("dev{index}"), up: index != 4, ..Link::default() };
            Machine {
                links: [1, 2, 3, 4, TUN].map(link).into(),
                routes,
                rules,
                resolvers: resolvers.into_iter().map(|host| address(v6, host)).collect(),
                ..Machine::default()
            }
        },
    )
}

fn route(v6: bool) -> impl Strategy<Value = Route> {
    let everything = move |length| IpNet::new(address(v6, 0), length).unwrap().trunc();
    let network = prop_oneof![4 => net(v6), 1 => Just(everything(0)), 1 => Just(everything(1)), 1 => Just(everything(8))];
    let kind = prop_oneof![
        6 => Just(RouteKind::Unicast),
        1 => Just(RouteKind::Blackhole),
        1 => Just(RouteKind::Throw),
    ];
    let table = prop_oneof![2 => Just(MAIN), 1 => Just(100u32), 1 => Just(101u32)];
    // some are ours, of the plan before
    let link = prop_oneof![6 => 2u32..=3, 1 => Just(4u32)];
    (table, network, kind, link, 0u32..3).prop_map(|(table, network, kind, link, metric)| Route {
        table,
        network,
        kind,
        link: (kind == RouteKind::Unicast).then_some(link),
        gateway: None,
        metric,
    })
}

/// An address of the machine's own.
fn local(v6: bool) -> impl Strategy<Value = Route> {
    (0..HOSTS, any::<bool>()).prop_map(move |(host, broadcast)| Route {
        table: LOCAL,
        network: address(v6, host).into(),
        kind: if broadcast { RouteKind::Broadcast } else { RouteKind::Local },
        link: Some(2),
        gateway: None,
        metric: 0,
    })
}

fn rule(v6: bool) -> impl Strategy<Value = Rule> {
    let action = prop_oneof![
        8 => prop_oneof![Just(100u32), Just(101u32), Just(MAIN)].prop_map(RuleAction::Table),
        1 => prop_oneof![Just(150u32), Just(32766u32)].prop_map(RuleAction::Goto),
        1 => Just(RuleAction::Nop),
        1 => Just(RuleAction::Prohibit),
    ];
    let selector = prop_oneof![
        4 => Just(0),
        7 => 1..=7,
    ];
    let suppress = proptest::option::weighted(0.2, prop_oneof![Just(0u32), Just(1u32), 26u32..=32]);
    let to = proptest::option::weighted(0.3, net(v6));
    (action, selector, 90u32..160, to, any::<bool>(), suppress).prop_map(
        move |(action, selector, priority, to, invert, suppress_prefix_length)| {
            let mut rule =
                Rule { to, invert, action, suppress_prefix_length, ..Rule::lookup(v6, priority, 0) };
            match selector {
                1 => rule.uids = Some((USER, USER)),
                2 => rule.other_selector = true,
                3 => rule.from = Some(source(v6).into()),
                4 => rule.from = Some(address(v6, 201).into()),
                5 => rule.fwmark = Some((7, 0xff)),
                6 => rule.iif = Some("eth9".into()),
                7 => rule.oif = Some("dev3".into()),
                // nothing is everybody: the reverse would select nothing
                _ => rule.invert = invert && to.is_some(),
            }
            if matches!(action, RuleAction::Goto(target) if target <= priority) {
                rule.action = RuleAction::Nop;
            }
            rule
        },
    )
}
