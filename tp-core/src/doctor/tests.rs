//! The report as people and programs read it.

use super::*;
use crate::cluster::ClusterView;
use crate::conflicts::CommandLine;
use crate::machine::{Link, MAIN, Machine, Route, RouteKind, Rule};
use crate::routes::{Own, plan};
use crate::routing::Routing;

fn vpn() -> Machine {
    let tun = Link { index: 3, name: "vpn0".into(), kind: "tun".into(), up: true, ..Link::default() };
    let rule = Rule::lookup(false, 32766, MAIN);
    let route = Route {
        table: MAIN,
        network: "10.244.0.0/16".parse().unwrap(),
        kind: RouteKind::Unicast,
        link: Some(3),
        gateway: None,
        metric: 0,
    };
    Machine { links: vec![tun], rules: vec![rule], routes: vec![route], ..Machine::default() }
}

fn view() -> ClusterView {
    ClusterView {
        service_subnets: vec!["10.96.0.0/16".parse().unwrap()],
        pod_subnets: vec!["10.244.0.0/16".parse().unwrap()],
        ..ClusterView::default()
    }
}

fn dry_run(routing: &Routing, machine: &Machine) -> Vec<Check> {
    routes(&plan(&view(), routing, machine, &Own::default()), &CommandLine::default())
}

fn told(checks: Vec<Check>) -> String {
    Report::new(checks, &CommandLine::default().0).text()
}

#[test]
fn a_machine_without_conflicts() {
    insta::assert_snapshot!(told(dry_run(&Routing::default(), &Machine::default())));
}

#[test]
fn a_conflict_that_resolves_itself() {
    insta::assert_snapshot!(told(dry_run(&Routing::default(), &vpn())));
}

#[test]
fn a_conflict_that_nobody_may_resolve() {
    let routing = Routing { auto_resolve: false, ..Routing::default() };
    let [check] = &dry_run(&routing, &vpn())[..] else { panic!() };
    assert_eq!((check.verdict, check.name.as_str()), (Verdict::Fail, "conflicts"));
    assert!(check.says.contains("10.244.0.0/16 dev vpn0"), "{}", check.says);
    assert!(check.hint.contains("--allow-conflicting-subnets 10.244.0.0/16"), "{}", check.hint);
}

#[test]
fn networks_that_are_guessed_stop_nothing() {
    let routing = Routing { auto_resolve: false, ..Routing::default() };
    let plan = plan(&view(), &routing, &vpn(), &Own::default());
    let [check] = &guessed(&plan, &CommandLine::default())[..] else { panic!() };
    assert_eq!(check.verdict, Verdict::Note);
    assert!(check.says.contains("10.244.0.0/16 dev vpn0"), "{}", check.says);
}

#[test]
fn a_conflict_that_is_allowed() {
    let routing = Routing { allow_conflicting: vec!["10.0.0.0/8".parse().unwrap()], ..Routing::default() };
    insta::assert_snapshot!(told(dry_run(&routing, &vpn())));
}

#[test]
fn a_pool_of_virtual_addresses_that_is_in_use() {
    let mut machine = vpn();
    machine.routes.push(Route { network: "246.246.0.0/16".parse().unwrap(), ..machine.routes[0].clone() });
    insta::assert_snapshot!(told(dry_run(&Routing::default(), &machine)));
}

#[test]
fn checks_are_told_stage_by_stage_and_what_fails_is_named() {
    let report = Report::new(
        vec![
            Check::fail(Stage::Cluster, "API server", "connection refused", "is the cluster up?"),
            Check::ok(Stage::Tp, "tp-daemon", "0.1.0"),
            Check::note(Stage::Machine, "names", "192.0.2.1 does not answer\n192.0.2.2 neither", "one\ntwo"),
            Check::fail(Stage::Machine, "device tp0", "there is one already", ""),
        ],
        "sudo tp connect --context lab",
    );
    assert!(!report.ok);
    insta::assert_snapshot!(report.text());
    insta::assert_json_snapshot!(report);
}

#[test]
fn what_a_daemon_prints_is_read_back() {
    let checks = vec![
        Check::note(Stage::Manager, "pods", "1 of 2 is ready", "wait"),
        Check::ok(Stage::Routes, "routed", "10.96.0.0/16"),
    ];
    let findings = Findings { command: None, checks };
    let text = serde_json::to_string(&findings).unwrap();
    assert_eq!(serde_json::from_str::<Findings>(&text).unwrap(), findings);
}
