//! A VPN that routes the cluster's networks as its own: resolved, allowed, refused, and come later.
use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    ADDRESS, NAME, NOTICED_WITHIN, OwnCase, Vpn, answers, as_before, both_in_reach, connected, eventually,
    is_virtual, look, with_config,
};
use crate::site::{Session, Site};
use crate::standalone::Standalone;

pub(super) const CASES: &[(&str, OwnCase)] = &[
    ("vpn_conflict_resolves_itself", resolved),
    ("vpn_conflict_allowed_inside_a_network_only", allowed),
    ("vpn_conflict_refused_with_every_way_out", refused),
    ("vpn_that_comes_and_goes_while_connected", later),
    ("vpn_route_as_specific_as_the_clusters", equal),
    ("vpn_that_uses_the_virtual_subnet", virtual_subnet),
    ("vpn_conflict_with_ipv6", ipv6),
];

fn resolved(site: &Standalone) -> Result<()> {
    let vpn = Vpn::new(site, "tun9")?;
    vpn.route(&["10.0.0.0/8"])?;
    connected(site, &[], |said| {
        ensure!(said.contains("10.0.0.0/8") && said.contains("tun9"), "not said: {said}");
        both_in_reach(site)?;
        answers(site, "10.200.0.1", "office")?;
        // what is not in conflict is routed as ever
        answers(site, "[fd55::10]", "echo")?;
        let routing = site.tp().status()?["routing"].to_string();
        ensure!(routing.contains("10.55.0.0/") && routing.contains("tun9"), "{routing}");
        Ok(())
    })
}

/// The seeds' example, with this cluster's numbers.
fn allowed(site: &Standalone) -> Result<()> {
    let vpn = Vpn::new(site, "tun9")?;
    vpn.route(&["10.0.0.0/8"])?;
    connected(site, &["--allow-conflicting-subnets", "10.55.0.0/16"], |_| {
        ensure!(answers(site, "10.55.0.10", "echo")? == "10.55.0.10");
        ensure!(answers(site, NAME, "db-0")? == "10.55.1.2");
        // allowed, but nothing of the cluster
        answers(site, "10.55.77.1", "office")?;
        answers(site, "10.200.0.1", "office")?;
        let routes = site.app().succeed(&["ip", "-4", "route", "show", "dev", "tp0", "table", "main"])?;
        let ours: Vec<&str> = routes.lines().filter(|line| line.starts_with("10.")).collect();
        let networks: Vec<&str> = ours.iter().filter_map(|line| line.split(' ').next()).collect();
        ensure!(networks == ["10.55.0.0/23", "10.55.2.0/24"], "{routes}");
        Ok(())
    })
}

fn refused(site: &Standalone) -> Result<()> {
    let vpn = Vpn::new(site, "tun9")?;
    vpn.route(&["10.55.0.0/23", "10.0.0.0/8"])?;
    with_config(site, "routing:\n  autoResolveConflicts: false\n", || {
        let before = look(site)?;
        let said = site.tp().connect(&[])?.failure(1)?;
        for part in [
            "10.55.2.0/24",
            "10.55.0.0/23",
            "10.0.0.0/8",
            "tun9",
            "VPN",
            "hint:",
            "--vnat",
            "--proxy-via",
            "nothing was changed",
        ] {
            ensure!(said.contains(part), "{part} is not in:\n{said}");
        }
        as_before(site, &before)?;
        // the very commands that it names
        let words = |flag: &str| -> Vec<String> {
            let line = said.lines().find(|line| line.contains(flag)).unwrap_or_default();
            line.split_whitespace()
                .skip_while(|word| !word.starts_with("--allow") && !word.starts_with("--vnat"))
                .map(str::to_owned)
                .collect()
        };
        let allow = words("--allow-conflicting-subnets");
        connected(site, &allow.iter().map(String::as_str).collect::<Vec<_>>(), |_| {
            answers(site, "10.55.0.10", "echo")?;
            answers(site, "10.200.0.1", "office").map(drop)
        })?;
        let vnat: Vec<String> = words("--vnat").into_iter().collect();
        connected(site, &vnat.iter().map(String::as_str).collect::<Vec<_>>(), |_| both_in_reach(site))
    })
}

fn later(site: &Standalone) -> Result<()> {
    connected(site, &[], |_| {
        ensure!(!is_virtual(&answers(site, NAME, "db-0")?));
        let vpn = Vpn::new(site, "tun9")?;
        vpn.route(&["10.0.0.0/8"])?;
        eventually(NOTICED_WITHIN, || both_in_reach(site))?;
        let routing: Value = site.tp().status()?["routing"].clone();
        ensure!(routing.to_string().contains("tun9"), "{routing}");
        drop(vpn);
        eventually(NOTICED_WITHIN, || {
            answers(site, ADDRESS, "db-0")?;
            ensure!(!is_virtual(&answers(site, NAME, "db-0")?), "still virtual");
            Ok(())
        })
    })
}

/// With metrics, so that there are two.
fn equal(site: &Standalone) -> Result<()> {
    let vpn = Vpn::new(site, "tun9")?;
    vpn.route(&["10.55.1.0/24 metric 50", "10.55.0.10/32"])?;
    vpn.ws.ip("route add 10.55.1.0/24 via 192.0.2.77 metric 600")?;
    let result = (|| {
        connected(site, &[], |said| {
            ensure!(said.contains("tun9"), "{said}");
            both_in_reach(site)?;
            answers(site, "10.55.0.10", "office").map(drop)
        })?;
        // nothing is more specific than one address: that one keeps its route
        connected(site, &["--allow-conflicting-subnets", "10.55.0.0/16"], |_| {
            ensure!(answers(site, NAME, "db-0")? == "10.55.1.2");
            answers(site, "10.55.0.10", "office").map(drop)
        })
    })();
    vpn.ws.ip("route del 10.55.1.0/24 via 192.0.2.77 metric 600")?;
    result
}

fn virtual_subnet(site: &Standalone) -> Result<()> {
    let vpn = Vpn::new(site, "tun9")?;
    vpn.route(&["10.0.0.0/8", "246.0.0.0/8"])?;
    let before = look(site)?;
    let said = site.tp().connect(&[])?.failure(1)?;
    for part in ["246.246.0.0/16", "246.0.0.0/8", "tun9", "hint:", "routing.virtualSubnet"] {
        ensure!(said.contains(part), "{part} is not in:\n{said}");
    }
    as_before(site, &before)?;
    with_config(site, "routing:\n  virtualSubnet: 245.245.0.0/16\n", || {
        connected(site, &[], |_| {
            let peer = answers(site, NAME, "db-0")?;
            ensure!(peer.starts_with("245.245."), "{peer}");
            Ok(())
        })
    })
}

/// As specific as the cluster's own, and all of IPv4 as ever.
fn ipv6(site: &Standalone) -> Result<()> {
    let vpn = Vpn::new(site, "tun9")?;
    vpn.ws.ip("addr add fd08::2/64 dev tun9")?;
    vpn.office.ip("addr add fd08::1/64 dev ws0")?;
    vpn.office.ip("addr add fd55::10/128 dev lo")?;
    vpn.office.ip("addr add fd55:0:0:7::1/128 dev lo")?;
    vpn.office.ip("-6 route add default via fd08::2")?;
    vpn.ws.ip("-6 route add fd55::/48 via fd08::1 dev tun9")?;
    let name = |expected: &str| -> Result<()> {
        let words = ["curl", "-6", "-sS", "--max-time", "10", "-w", "%{remote_ip}", "http://echo:8080"];
        let text = site.app().succeed(&words)?;
        ensure!(text.contains("\"echo\"") && text.trim_end().contains(expected), "{text}");
        Ok(())
    };
    connected(site, &[], |said| {
        ensure!(said.contains("fd55::/48") && said.contains("tun9"), "{said}");
        name("fd74:7076::")?;
        answers(site, "[fd55::10]", "office")?;
        ensure!(answers(site, NAME, "db-0")? == "10.55.1.2");
        Ok(())
    })?;
    connected(site, &["--allow-conflicting-subnets", "fd55::/64"], |_| {
        name("fd55::10")?;
        answers(site, "[fd55::10]", "echo")?;
        answers(site, "[fd55:0:0:7::1]", "office").map(drop)
    })
}
