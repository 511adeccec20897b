//! VPNs that take everything: by halves of the default route, and by tables and rules of their own.
use anyhow::{Result, ensure};

use super::{NAME, NOTICED_WITHIN, OwnCase, Vpn, answers, both_in_reach, connected, eventually};
use crate::standalone::Standalone;

pub(super) const CASES: &[(&str, OwnCase)] = &[
    ("vpn_by_halves_of_the_default_route", halves),
    ("vpn_by_a_table_and_a_mark_as_wg_quick", wg_quick),
    ("vpn_by_a_rule_before_main", before_main),
    ("vpn_whose_rule_comes_while_connected", rule_later),
    ("vpn_by_a_rule_for_the_clusters_networks", rule_for_networks),
];

/// OpenVPN's `redirect-gateway def1`.
fn halves(site: &Standalone) -> Result<()> {
    let vpn = Vpn::new(site, "tun9")?;
    vpn.route(&["0.0.0.0/1", "128.0.0.0/1"])?;
    connected(site, &[], |_| cluster_andoffice(site))
}

fn wg_quick(site: &Standalone) -> Result<()> {
    let mut vpn = Vpn::new(site, "wg9")?;
    vpn.route_in("51820", "default")?;
    vpn.rule("not fwmark 51820 table 51820 priority 32765")?;
    vpn.rule("table main suppress_prefixlength 0 priority 32764")?;
    connected(site, &[], |_| cluster_andoffice(site))?;
    // the same with a network of the cluster among its own
    vpn.route(&["10.55.0.0/16"])?;
    connected(site, &[], |_| {
        both_in_reach(site)?;
        answers(site, "203.0.113.5", "office").map(drop)
    })
}

/// As Tailscale with an exit node and the LAN allowed.
fn before_main(site: &Standalone) -> Result<()> {
    let mut vpn = Vpn::new(site, "tailscale9")?;
    exit_node(&mut vpn)?;
    vpn.rule("table 52 priority 5270")?;
    connected(site, &[], |_| cluster_andoffice(site))?;
    // and with a route of another node: virtual addresses must not leave by the exit node either
    vpn.route_in("52", "10.55.1.0/24")?;
    connected(site, &[], |_| both_in_reach(site))
}

fn rule_later(site: &Standalone) -> Result<()> {
    connected(site, &[], |_| {
        answers(site, "10.55.0.10", "echo")?;
        let mut vpn = Vpn::new(site, "tailscale9")?;
        exit_node(&mut vpn)?;
        vpn.rule("table 52 priority 5270")?;
        eventually(NOTICED_WITHIN, || cluster_andoffice(site))?;
        // it writes its table anew, as it does when its settings change
        vpn.ws.ip("route flush table 52")?;
        exit_node(&mut vpn)?;
        eventually(NOTICED_WITHIN, || cluster_andoffice(site))
    })
}

/// A default route in a table that is asked for 10.0.0.0/8 alone: a VPN for 10.0.0.0/8.
fn rule_for_networks(site: &Standalone) -> Result<()> {
    let mut vpn = Vpn::new(site, "ppp9")?;
    vpn.route_in("100", "default")?;
    vpn.rule("to 10.0.0.0/8 table 100 priority 1000")?;
    connected(site, &[], |said| {
        ensure!(said.contains("10.0.0.0/8") && said.contains("ppp9"), "{said}");
        both_in_reach(site)?;
        answers(site, "10.200.0.1", "office").map(drop)
    })?;
    connected(site, &["--allow-conflicting-subnets", "10.55.0.0/16"], |_| {
        answers(site, "10.55.0.10", "echo")?;
        answers(site, "10.55.77.1", "office").map(drop)
    })
}

fn exit_node(vpn: &mut Vpn<'_>) -> Result<()> {
    vpn.route_in("52", "default")?;
    vpn.ws.ip("route add throw 192.0.2.0/24 table 52")?;
    vpn.undo.push("route del throw 192.0.2.0/24 table 52".to_owned());
    Ok(())
}

/// By address, both.
fn cluster_andoffice(site: &Standalone) -> Result<()> {
    ensure!(answers(site, "10.55.0.10", "echo")? == "10.55.0.10");
    ensure!(answers(site, NAME, "db-0")? == "10.55.1.2");
    answers(site, "203.0.113.5", "office").map(drop)
}
