//! Machines as they are found, and what comes out for them.

mod settings;

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Own, Plan, plan};
use crate::cluster::ClusterView;
use crate::conflicts::{DeviceKind, Origin, Taken};
use crate::machine::{Address, LOCAL, Link, MAIN, Machine, Route, RouteKind, Rule, RuleAction};
use crate::routing::{Exit, ProxyVia, Routing};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn nets(text: &str) -> Vec<IpNet> {
    text.split_whitespace().map(net).collect()
}

/// A laptop at 192.168.1.17 with a default route.
fn laptop() -> Machine {
    let mut machine = Machine::default();
    add_link(&mut machine, "lo", "");
    machine.links[0].loopback = true;
    let lan = add_link(&mut machine, "wlp5s0", "");
    add(&mut machine, LOCAL, "127.0.0.0/8", RouteKind::Local, Some(1));
    add(&mut machine, LOCAL, "192.168.1.17/32", RouteKind::Local, Some(lan));
    add(&mut machine, LOCAL, "192.168.1.255/32", RouteKind::Broadcast, Some(lan));
    add(&mut machine, MAIN, "0.0.0.0/0", RouteKind::Unicast, Some(lan));
    add(&mut machine, MAIN, "192.168.1.0/24", RouteKind::Unicast, Some(lan));
    machine.rules = [(0, LOCAL), (32766, MAIN), (32767, 253)]
        .into_iter()
        .flat_map(|(priority, table)| [false, true].map(|v6| Rule::lookup(v6, priority, table)))
        .collect();
    machine
}

fn add_link(machine: &mut Machine, name: &str, kind: &str) -> u32 {
    let index = u32::try_from(machine.links.len()).unwrap() + 1;
    machine.links.push(Link { index, name: name.into(), kind: kind.into(), up: true, ..Link::default() });
    index
}

fn add(machine: &mut Machine, table: u32, network: &str, kind: RouteKind, link: Option<u32>) {
    machine.routes.push(Route { table, network: net(network), kind, link, gateway: None, metric: 0 });
}

/// The laptop with a VPN that routes these networks in `main`.
fn with_vpn(networks: &str) -> Machine {
    let mut machine = laptop();
    let tun = add_link(&mut machine, "tun0", "tun");
    for network in networks.split_whitespace() {
        add(&mut machine, MAIN, network, RouteKind::Unicast, Some(tun));
    }
    machine
}

/// The cluster of the seeds.
fn cluster() -> ClusterView {
    ClusterView {
        service_subnets: nets("10.130.0.0/16"),
        pod_subnets: nets("10.132.0.0/16"),
        ..ClusterView::default()
    }
}

fn allowing(networks: &str) -> Routing {
    Routing { allow_conflicting: nets(networks), ..Routing::default() }
}

fn strict() -> Routing {
    Routing { auto_resolve: false, ..Routing::default() }
}

fn planned(view: &ClusterView, routing: &Routing, machine: &Machine) -> Plan {
    plan(view, routing, machine, &Own::default()).unwrap()
}

fn routed(plan: &Plan) -> Vec<(String, Vec<u32>)> {
    plan.routed.iter().map(|placed| (placed.network.to_string(), placed.tables.clone())).collect()
}

/// What is routed, in `main` only.
fn in_main(plan: &Plan) -> String {
    assert!(plan.routed.iter().all(|placed| placed.tables == [MAIN]), "{:?}", plan.routed);
    plan.routed.iter().map(|placed| placed.network.to_string()).collect::<Vec<_>>().join(" ")
}

fn hidden(plan: &Plan) -> String {
    plan.hidden.iter().map(|hidden| hidden.network.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn nothing_in_the_way() {
    let plan = planned(&cluster(), &Routing::default(), &laptop());
    assert_eq!(in_main(&plan), "10.130.0.0/16 10.132.0.0/16");
    assert_eq!(plan, Plan { routed: plan.routed.clone(), ..Plan::default() });
}

/// The seeds' page about VPNs, to the letter.
#[test]
fn the_seeds_vpn_keeps_all_that_is_not_the_clusters() {
    let machine = with_vpn("10.0.0.0/8");
    let allowed = planned(&cluster(), &allowing("10.128.0.0/9"), &machine);
    assert_eq!(in_main(&allowed), "10.130.0.0/16 10.132.0.0/16");
    assert_eq!((allowed.hidden.len(), allowed.conflicts.len(), allowed.overridden.len()), (0, 0, 2));

    let refused = planned(&cluster(), &strict(), &machine);
    assert_eq!((refused.routed.len(), refused.conflicts.len()), (0, 2));
    let first = &refused.conflicts[0];
    assert_eq!((first.subnet, first.overlap), (net("10.130.0.0/16"), net("10.130.0.0/16")));
    assert_eq!((first.origin, first.way.what), (Origin::Service, Taken::Route(net("10.0.0.0/8"))));
    assert_eq!((first.way.device.as_str(), first.way.kind, first.beatable), ("tun0", DeviceKind::Vpn, true));

    let resolved = planned(&cluster(), &Routing::default(), &machine);
    assert_eq!((resolved.routed.len(), resolved.conflicts.len(), resolved.resolved.len()), (0, 0, 2));
    assert_eq!(hidden(&resolved), "10.130.0.0/16 10.132.0.0/16");
    assert!(resolved.hidden.iter().all(|hidden| hidden.exit == Exit::Manager));
    assert_eq!(resolved.inside, nets("10.130.0.0/16 10.132.0.0/16"));
    assert_eq!(resolved.virtual_subnets[0].network, net("246.246.0.0/16"));
}

#[test]
fn only_the_overlap_is_in_conflict() {
    let view = ClusterView { pod_subnets: nets("10.0.0.0/8"), ..ClusterView::default() };
    let plan = planned(&view, &Routing::default(), &with_vpn("10.64.0.0/10"));
    assert_eq!(in_main(&plan), "10.0.0.0/10 10.128.0.0/9");
    assert_eq!(hidden(&plan), "10.64.0.0/10");
    assert_eq!(plan.resolved[0].overlap, net("10.64.0.0/10"));

    let allowed = planned(&view, &allowing("10.64.0.0/16"), &with_vpn("10.64.0.0/10"));
    assert_eq!(allowed.overridden[0].overlap, net("10.64.0.0/16"));
    assert_eq!(
        hidden(&allowed),
        "10.65.0.0/16 10.66.0.0/15 10.68.0.0/14 10.72.0.0/13 10.80.0.0/12 10.96.0.0/11"
    );
}

#[test]
fn a_route_as_specific_as_ours_is_beaten_by_halves() {
    let machine = with_vpn("10.130.0.0/16");
    let plan = planned(&cluster(), &allowing("10.128.0.0/9"), &machine);
    assert_eq!(in_main(&plan), "10.130.0.0/17 10.130.128.0/17 10.132.0.0/16");
    let more_specific = planned(&cluster(), &allowing("10.128.0.0/9"), &with_vpn("10.130.7.0/24"));
    assert!(in_main(&more_specific).contains("10.130.7.0/25 10.130.7.128/25"));
}

#[test]
fn one_address_cannot_be_beaten() {
    // the VPN's own endpoint, and an address of the machine
    let view = ClusterView { pod_subnets: nets("192.168.1.0/24 203.0.113.0/24"), ..ClusterView::default() };
    let machine = with_vpn("203.0.113.7/32");
    let routing = Routing { auto_resolve: false, ..allowing("0.0.0.0/0") };
    let plan = planned(&view, &routing, &machine);
    let left: Vec<Taken> = plan.conflicts.iter().map(|conflict| conflict.way.what).collect();
    let address = |text: &str| Taken::Address(text.parse().unwrap());
    assert_eq!(
        left,
        [address("192.168.1.17"), Taken::Route(net("192.168.1.255/32")), Taken::Route(net("203.0.113.7/32"))]
    );
    assert!(plan.conflicts.iter().all(|conflict| !conflict.beatable));
    assert_eq!(plan.overridden.len(), 1);
}

/// Both halves of OpenVPN's `redirect-gateway def1`.
#[test]
fn a_vpn_that_takes_everything_is_no_conflict() {
    let plan = planned(&cluster(), &strict(), &with_vpn("0.0.0.0/1 128.0.0.0/1 203.0.113.7/32"));
    assert_eq!((in_main(&plan).as_str(), plan.conflicts.len()), ("10.130.0.0/16 10.132.0.0/16", 0));
}

/// `wg-quick` with AllowedIPs 0.0.0.0/0, and with some networks more.
#[test]
fn wireguard_by_wg_quick() {
    let mut machine = laptop();
    let wg = add_link(&mut machine, "office", "wireguard");
    add(&mut machine, 51820, "0.0.0.0/0", RouteKind::Unicast, Some(wg));
    add(&mut machine, MAIN, "10.9.0.0/24", RouteKind::Unicast, Some(wg));
    let mut main = Rule::lookup(false, 32764, MAIN);
    main.suppress_prefix_length = Some(0);
    let mut all = Rule::lookup(false, 32765, 51820);
    (all.fwmark, all.invert) = (Some((0xca6c, 0xffff_ffff)), true);
    machine.rules.extend([main, all]);
    assert_eq!(in_main(&planned(&cluster(), &strict(), &machine)), "10.130.0.0/16 10.132.0.0/16");
    let view = ClusterView { pod_subnets: nets("10.9.0.0/16"), ..ClusterView::default() };
    assert_eq!(planned(&view, &strict(), &machine).conflicts[0].way.kind, DeviceKind::Vpn);
}

/// Marked packets, an exit node, and routes that other nodes advertise.
#[test]
fn tailscale_with_an_exit_node() {
    let mut machine = laptop();
    let tailscale = add_link(&mut machine, "tailscale0", "tun");
    add(&mut machine, 52, "0.0.0.0/0", RouteKind::Unicast, Some(tailscale));
    add(&mut machine, 52, "100.100.100.100/32", RouteKind::Unicast, Some(tailscale));
    add(&mut machine, 52, "192.168.1.0/24", RouteKind::Throw, None);
    let marked = |priority, action| Rule {
        fwmark: Some((0x80000, 0xff0000)),
        action,
        ..Rule::lookup(false, priority, MAIN)
    };
    machine.rules.extend([
        marked(5210, RuleAction::Table(MAIN)),
        marked(5230, RuleAction::Table(253)),
        marked(5250, RuleAction::Unreachable),
        Rule::lookup(false, 5270, 52),
    ]);
    let plan = planned(&cluster(), &strict(), &machine);
    let both = vec![MAIN, 52];
    assert_eq!(routed(&plan), [("10.130.0.0/16".into(), both.clone()), ("10.132.0.0/16".into(), both)]);

    add(&mut machine, 52, "10.132.64.0/18", RouteKind::Unicast, Some(tailscale));
    let plan = planned(&cluster(), &Routing::default(), &machine);
    assert_eq!(hidden(&plan), "10.132.64.0/18");
    assert_eq!(
        plan.virtual_subnets[0].tables,
        [MAIN, 52],
        "virtual addresses must not leave by the exit node"
    );

    // the LAN is reached in spite of the exit node
    let view = ClusterView { pod_subnets: nets("192.168.0.0/16"), ..ClusterView::default() };
    assert_eq!(planned(&view, &strict(), &machine).conflicts[0].way.device, "wlp5s0");
}

#[test]
fn a_rule_that_asks_a_table_for_one_network_is_a_route_to_it() {
    let mut machine = laptop();
    let tun = add_link(&mut machine, "ppp0", "ppp");
    add(&mut machine, 100, "0.0.0.0/0", RouteKind::Unicast, Some(tun));
    machine.rules.push(Rule { to: Some(net("10.128.0.0/9")), ..Rule::lookup(false, 1000, 100) });
    let plan = planned(&cluster(), &strict(), &machine);
    assert_eq!((plan.routed.len(), plan.conflicts.len()), (0, 2));
    assert_eq!(plan.conflicts[0].way.what, Taken::Route(net("10.128.0.0/9")));
    let allowed = planned(&cluster(), &allowing("10.130.0.0/16"), &machine);
    assert_eq!(routed(&allowed), [("10.130.0.0/16".to_owned(), vec![MAIN, 100])]);
}

/// A kill switch: everybody but one user by the VPN, and whom no rule before has served is refused. Our route in the VPN's
/// table is found by the first rule, which passes over what is there without us, also for that user.
#[test]
fn a_route_of_ours_may_win_by_a_rule_before_the_one_that_asks_for_it() {
    let mut machine = laptop();
    let vpn = add_link(&mut machine, "vpn0", "tun");
    add(&mut machine, 100, "0.0.0.0/0", RouteKind::Unicast, Some(vpn));
    let rule = Rule::lookup(false, 90, 100);
    machine.rules.extend([
        Rule { suppress_prefix_length: Some(0), ..rule.clone() },
        Rule { uids: Some((1000, 1000)), invert: true, ..rule },
        Rule { action: RuleAction::Prohibit, ..Rule::lookup(false, 109, MAIN) },
    ]);
    let plan = planned(&cluster(), &strict(), &machine);
    assert_eq!(plan.conflicts, []);
    let tables = vec![MAIN, 100];
    assert_eq!(routed(&plan), ["10.130.0.0/16", "10.132.0.0/16"].map(|net| (net.to_owned(), tables.clone())));
}

/// A user's own VPN, a router's rules, a VRF.
#[test]
fn rules_for_some_and_rules_for_others() {
    let table = |rule: Rule| {
        let mut machine = laptop();
        let tun = add_link(&mut machine, "tun0", "tun");
        add(&mut machine, 100, "10.0.0.0/8", RouteKind::Unicast, Some(tun));
        machine.rules.push(rule);
        planned(&cluster(), &strict(), &machine).conflicts.len()
    };
    let rule = Rule::lookup(false, 1000, 100);
    assert_eq!(table(Rule { uids: Some((1000, 1000)), ..rule.clone() }), 2);
    assert_eq!(table(Rule { other_selector: true, ..rule.clone() }), 2);
    assert_eq!(table(Rule { iif: Some("lo".into()), ..rule.clone() }), 2);
    assert_eq!(table(Rule { invert: true, from: Some(net("10.9.0.0/16")), ..rule.clone() }), 2);
    assert_eq!(table(Rule { iif: Some("docker0".into()), ..rule.clone() }), 0);
    assert_eq!(table(Rule { oif: Some("tun0".into()), ..rule.clone() }), 0);
    assert_eq!(table(Rule { fwmark: Some((1, 1)), ..rule.clone() }), 0);
    assert_eq!(table(Rule { from: Some(net("10.9.0.0/16")), ..rule.clone() }), 0);
    assert_eq!(table(Rule { action: RuleAction::Goto(32766), ..rule }), 0);
}

#[test]
fn what_is_blocked_on_purpose() {
    let blocked = |network: &str| {
        let mut machine = laptop();
        add(&mut machine, MAIN, network, RouteKind::Blackhole, None);
        planned(&cluster(), &strict(), &machine)
    };
    let broader = blocked("10.0.0.0/8");
    assert_eq!((in_main(&broader).as_str(), broader.conflicts.len()), ("10.130.0.0/16 10.132.0.0/16", 0));
    for network in ["10.130.0.0/16", "10.130.9.0/24"] {
        let plan = blocked(network);
        assert_eq!(
            (plan.conflicts[0].overlap, plan.conflicts[0].way.kind),
            (net(network), DeviceKind::Blackhole)
        );
    }
    let mut machine = laptop();
    let refuses =
        Rule { action: RuleAction::Prohibit, to: Some(net("10.0.0.0/8")), ..Rule::lookup(false, 9, 0) };
    machine.rules.push(refuses);
    let plan = planned(&cluster(), &allowing("10.0.0.0/8"), &machine);
    assert_eq!(plan.resolved[0].way.what, Taken::Rule(9), "no route of ours beats a rule");
}

#[test]
fn a_link_that_is_down_has_no_routes() {
    let mut machine = with_vpn("10.0.0.0/8");
    machine.links[2].up = false;
    assert_eq!(planned(&cluster(), &strict(), &machine).conflicts, []);
}

/// Our own routes of the plan before are not in our way.
#[test]
fn what_we_did_ourselves() {
    let machine = with_vpn("10.130.0.0/16 10.0.0.0/8");
    let own = Own { links: vec![3], ..Own::default() };
    let plan = plan(&cluster(), &strict(), &machine, &own).unwrap();
    assert_eq!(in_main(&plan), "10.130.0.0/16 10.132.0.0/16");
}

/// Docker's networks and a k3s node on the same machine.
#[test]
fn docker_and_a_node_on_this_machine() {
    let mut machine = laptop();
    let docker = add_link(&mut machine, "docker0", "bridge");
    let kind = add_link(&mut machine, "br-0123456789ab", "bridge");
    let cni = add_link(&mut machine, "cni0", "bridge");
    let flannel = add_link(&mut machine, "flannel.1", "vxlan");
    for (network, link) in
        [("172.17.0.0/16", docker), ("172.18.0.0/16", kind), ("10.42.0.0/24", cni), ("10.42.1.0/24", flannel)]
    {
        add(&mut machine, MAIN, network, RouteKind::Unicast, Some(link));
    }
    for (link, network) in [(docker, "172.17.0.1/16"), (cni, "10.42.0.1/24")] {
        machine.addresses.push(Address { link, net: network.parse().unwrap() });
    }
    let view = ClusterView {
        service_subnets: nets("10.43.0.0/16"),
        pod_subnets: nets("10.42.0.0/16 172.17.0.0/16"),
        node_addresses: vec!["192.168.1.17".parse().unwrap(), "172.18.0.2".parse().unwrap()],
        ..ClusterView::default()
    };
    let plan = planned(&view, &Routing::default(), &machine);
    assert_eq!(hidden(&plan), "10.42.0.0/23 172.17.0.0/16");
    assert!(in_main(&plan).starts_with("10.42.2.0/23 10.42.4.0/22"));
    assert!(in_main(&plan).ends_with("10.43.0.0/16"));
    let kinds: Vec<DeviceKind> = plan.resolved.iter().map(|conflict| conflict.way.kind).collect();
    assert_eq!(kinds, [DeviceKind::Bridge, DeviceKind::Bridge, DeviceKind::DockerBridge]);
    // a container with such an address may be the app itself
    assert_eq!(plan.inside, nets("10.42.1.0/24"));
    // not docker0: its addresses are the pods' by coincidence, and its containers may use our routes
    assert_eq!(plan.node_side, [kind, cni, flannel]);
}
