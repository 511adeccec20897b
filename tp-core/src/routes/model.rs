//! The plan against a model that knows nothing of blocks or shortcuts: each address by itself, each packet by itself,
//! in a kernel that is simulated before and after.

mod inputs;
mod kernel;

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use self::inputs::{HOSTS, Input, TUN, USER, address, input, source};
use self::kernel::{Outcome, Packet, lookup};
use super::{Placed, Plan, plan};
use crate::machine::{LOCAL, MAIN, Machine, Route, RouteKind, Rule};
use crate::routing::{Exit, Proxied};

#[derive(Clone, PartialEq, Eq, Debug)]
enum Fate {
    Nothing,
    Routed {
        overridden: bool,
    },
    Hidden(Exit),
    /// Wanted, and in conflict.
    Blocked,
}

/// Packets of apps that are bound to nothing.
fn ordinary(v6: bool) -> Vec<Packet> {
    let mut packets = Vec::new();
    for uid in [0, USER] {
        for other in [false, true] {
            for source in [None, Some(source(v6))] {
                packets.push(Packet { uid, mark: 0, source, other, forwarded: false });
            }
        }
    }
    packets
}

fn everybody(v6: bool) -> Vec<Packet> {
    let mut packets = ordinary(v6);
    for packet in ordinary(v6) {
        packets.push(Packet { mark: 7, ..packet });
        packets.push(Packet { forwarded: true, ..packet });
    }
    packets
}

fn fate(input: &Input, ip: IpAddr) -> Fate {
    let Input { view, routing, machine, own, .. } = input;
    let all = |lists: &[&Vec<IpNet>]| -> Vec<IpNet> {
        lists.iter().flat_map(|list| list.iter().copied()).filter(|net| net.contains(&ip)).collect()
    };
    let longest = |nets: &[IpNet]| nets.iter().map(IpNet::prefix_len).max();
    let also = all(&[&view.also_proxy, &routing.also_proxy]);
    let (service, pods) = (all(&[&view.service_subnets]), all(&[&view.pod_subnets]));
    let mut via: Vec<(u8, Exit)> = Vec::new();
    for entry in &routing.proxy_via {
        let nets = match entry.what {
            Proxied::Net(net) => all(&[&vec![net]]),
            Proxied::Also => also.clone(),
            Proxied::Service => service.clone(),
            Proxied::Pods => pods.clone(),
            Proxied::All => [also.clone(), service.clone(), pods.clone()].concat(),
        };
        via.extend(nets.iter().map(|net| (net.prefix_len(), entry.exit.clone())));
    }
    via.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    let wanted = longest(&[also, service, pods].concat());
    let never = longest(&all(&[&view.never_proxy, &routing.never_proxy]));
    let most = wanted.max(via.first().map(|(length, _)| *length));
    if most.is_none() || never >= most || own.transport.contains(&ip) || machine.resolvers.contains(&ip) {
        return Fate::Nothing;
    }
    if let Some((_, exit)) = via.first() {
        return Fate::Hidden(exit.clone());
    }
    let taken = is_taken(input, ip, wanted.unwrap());
    let allowed = !all(&[&view.allow_conflicting, &routing.allow_conflicting]).is_empty();
    if (!taken || allowed) && is_winnable(input, ip) {
        Fate::Routed { overridden: taken }
    } else {
        Fate::Blocked
    }
}

/// Whether packets go somewhere in particular, once those routes are gone that have nothing of their own.
fn is_taken(input: &Input, ip: IpAddr, wanted: u8) -> bool {
    let broad = |rule: &Rule, route: &Route| {
        let own = route.network.prefix_len();
        let by_rule = rule.to.filter(|_| !rule.invert).map_or(0, |to| to.prefix_len());
        let length = own.max(by_rule);
        length <= 1 || (route.kind == RouteKind::Blackhole && length < wanted)
    };
    let goes = |packet| matches!(lookup(&input.machine, ip, packet, broad), Outcome::Route(_));
    ordinary(input.v6).into_iter().any(goes)
}

/// Whether routes to this one address would get every ordinary packet: in `main`, which others ask too, so that it must
/// be won in any case, and in whatever table has some packet instead, until there is none.
fn is_winnable(input: &Input, ip: IpAddr) -> bool {
    let host = IpNet::from(ip);
    let in_main = |route: &Route| route.table == MAIN && route.network == host && route.link != Some(4);
    let mut tables = vec![MAIN];
    loop {
        let after = with(&input.machine, &[Placed { network: host, tables: tables.clone() }]);
        let mut lost =
            ordinary(input.v6).into_iter().filter(|packet| !is_ours(&after, ip, *packet)).peekable();
        if lost.peek().is_none() {
            return !input.machine.routes.iter().any(in_main);
        }
        let table = lost.find_map(|packet| match lookup(&after, ip, packet, |_, _| false) {
            Outcome::Route(number) => {
                Some(after.routes[number].table).filter(|table| !tables.contains(table))
            }
            _ => None,
        });
        let Some(table) = table else { return false };
        tables.push(table);
        if tables.contains(&LOCAL) {
            return false;
        }
    }
}

fn with(machine: &Machine, ours: &[Placed]) -> Machine {
    let mut after = machine.clone();
    for placed in ours {
        for table in &placed.tables {
            after.routes.push(Route {
                table: *table,
                network: placed.network,
                kind: RouteKind::Unicast,
                link: Some(TUN),
                gateway: None,
                // among equals the machine's own goes first, whatever its metric
                metric: u32::MAX,
            });
        }
    }
    after
}

fn is_ours(machine: &Machine, ip: IpAddr, packet: Packet) -> bool {
    match lookup(machine, ip, packet, |_, _| false) {
        Outcome::Route(number) => machine.routes[number].link == Some(TUN),
        _ => false,
    }
}

fn fate_in_plan(plan: &Plan, ip: IpAddr, auto: bool) -> Result<Fate, TestCaseError> {
    let conflicts = if auto { &plan.resolved } else { &plan.conflicts };
    let told =
        conflicts.iter().any(|conflict| conflict.overlap.contains(&ip) && conflict.subnet.contains(&ip));
    let overridden = plan.overridden.iter().any(|conflict| conflict.overlap.contains(&ip));
    let routed = plan.routed.iter().filter(|placed| placed.network.contains(&ip)).count();
    let hidden: Vec<&Exit> =
        plan.hidden.iter().filter(|hidden| hidden.network.contains(&ip)).map(|hidden| &hidden.exit).collect();
    prop_assert!(routed + hidden.len() < 2, "{} is in two networks", ip);
    Ok(match hidden.first() {
        Some(exit) => Fate::Hidden((*exit).clone()),
        None if routed == 1 => Fate::Routed { overridden },
        None if told && !auto => Fate::Blocked,
        None => Fate::Nothing,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_address_has_the_fate_of_the_model(input in input()) {
        let Ok(plan) = plan(&input.view, &input.routing, &input.machine, &input.own) else {
            let pool: IpNet = if input.v6 { input.routing.virtual_subnet_v6.into() } else { input.routing.virtual_subnet_v4.into() };
            // a /16 is not cut into the hundreds of routes that such a rule would let pass
            let suppresses = |rule: &Rule| rule.suppress_prefix_length.is_some_and(|length| length > 20);
            let (ip, length) = (pool.addr(), pool.prefix_len());
            prop_assert!(
                is_taken(&input, ip, length)
                    || !is_winnable(&input, ip)
                    || input.machine.rules.iter().any(suppresses)
            );
            return Ok(());
        };
        for host in 0..HOSTS {
            let ip = address(input.v6, host);
            let expected = match fate(&input, ip) {
                Fate::Blocked if input.routing.auto_resolve => Fate::Hidden(Exit::Manager),
                Fate::Routed { overridden: false } => match fate_in_plan(&plan, ip, input.routing.auto_resolve)? {
                    // another address of the overlap was overridden
                    found @ Fate::Routed { .. } => found,
                    _ => Fate::Routed { overridden: false },
                },
                // may be told of as part of a larger overlap
                expected => expected,
            };
            let mut found = fate_in_plan(&plan, ip, input.routing.auto_resolve)?;
            if (&expected, &found) == (&Fate::Nothing, &Fate::Blocked) {
                found = Fate::Nothing;
            }
            prop_assert_eq!(&found, &expected, "{} in {:#?}", ip, plan);
        }
    }

    #[test]
    fn packets_to_routed_networks_come_to_us_and_all_others_go_where_they_went(input in input()) {
        let Ok(plan) = plan(&input.view, &input.routing, &input.machine, &input.own) else { return Ok(()) };
        let ours = [plan.routed.clone(), plan.virtual_subnets.clone()].concat();
        let after = with(&input.machine, &ours);
        for placed in &ours {
            prop_assert_eq!(placed.tables[0], MAIN);
            prop_assert!(!placed.tables.contains(&LOCAL));
        }
        let pool = plan.virtual_subnets.iter().map(|placed| placed.network.addr());
        for ip in (0..HOSTS).map(|host| address(input.v6, host)).chain(pool) {
            let is_routed = ours.iter().any(|placed| placed.network.contains(&ip));
            if is_routed {
                for packet in ordinary(input.v6) {
                    prop_assert!(is_ours(&after, ip, packet), "{} {:?} in {:#?}", ip, packet, plan);
                }
                continue;
            }
            for packet in everybody(input.v6) {
                let before = lookup(&input.machine, ip, packet, |_, _| false);
                prop_assert_eq!(lookup(&after, ip, packet, |_, _| false), before, "{} {:?} in {:#?}", ip, packet, plan);
            }
        }
    }

    #[test]
    fn what_is_told_is_true(input in input()) {
        let Ok(plan) = plan(&input.view, &input.routing, &input.machine, &input.own) else { return Ok(()) };
        let addresses: Vec<IpAddr> = (0..HOSTS).map(|host| address(input.v6, host)).collect();
        let fates: Vec<(IpAddr, Fate)> = addresses.iter().map(|ip| (*ip, fate(&input, *ip))).collect();
        for conflict in plan.conflicts.iter().chain(&plan.resolved) {
            let some = fates.iter().any(|(ip, fate)| conflict.overlap.contains(ip) && *fate == Fate::Blocked);
            prop_assert!(some, "nothing of {:?} is in conflict", conflict);
        }
        for conflict in &plan.overridden {
            let some = fates
                .iter()
                .any(|(ip, fate)| conflict.overlap.contains(ip) && *fate == Fate::Routed { overridden: true });
            prop_assert!(some, "nothing of {:?} is overridden", conflict);
        }
        for (ip, fate) in &fates {
            let within = |conflicts: &[crate::conflicts::Conflict]| {
                conflicts.iter().any(|conflict| conflict.overlap.contains(ip) && conflict.subnet.contains(ip))
            };
            if *fate == Fate::Blocked {
                prop_assert!(within(&plan.conflicts) || within(&plan.resolved), "nobody told of {}", ip);
            }
            if *fate == (Fate::Routed { overridden: true }) {
                prop_assert!(within(&plan.overridden), "nobody told of {}", ip);
            }
        }
        for net in &plan.inside {
            for ip in addresses.iter().filter(|ip| net.contains(*ip)) {
                let neighbour = input.machine.addresses.iter().any(|address| address.net.contains(ip));
                prop_assert!(!neighbour && plan.hidden.iter().any(|hidden| hidden.network.contains(ip)));
            }
        }
        prop_assert!(plan.conflicts.is_empty() || !input.routing.auto_resolve);
        prop_assert!(plan.resolved.is_empty() || input.routing.auto_resolve);
    }
}
