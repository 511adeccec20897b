//! Whatever the host's reverse-path filter and firewall are, nothing of theirs needs changing.

use crate::forwarded::{Machine, exchange, masquerade};
use crate::site::{V4, V6, sh, site};
use crate::vip::{VIP_OF_HIDDEN, VIP_OF_HIDDEN_V6, VIP_V4, VIP_V6, set_usual_vips};

/// Cluster addresses, and VIPs that are rewritten.
const ALL: [&str; 6] = [V4, V6, VIP_V4, VIP_V6, VIP_OF_HIDDEN, VIP_OF_HIDDEN_V6];

/// Every counter that may move in [`exchange`], whoever calls it: the exits of a packet's whole way, and no other.
const USUAL: [&str; 20] = [
    "flow.admitted",
    "flow.refused",
    "from_app.syn_held",
    "from_app.tcp_crossed",
    "from_app.tcp_vip_crossed",
    "from_app.udp_crossed",
    "from_app.udp_held",
    "from_app.udp_vip_crossed",
    "from_daemon.answer_passed",
    "from_daemon.reply_passed",
    "from_daemon.syn_crossed",
    "from_daemon.syn_vip_crossed",
    "from_daemon.udp_crossed",
    "from_daemon.udp_vip_crossed",
    "from_listener.tcp",
    "from_listener.tcp_vip",
    "from_listener.udp",
    "from_listener.udp_vip",
    "pick_listener.assigned",
    "tun.arrived",
];

fn with_reverse_path_filter(value: u8) {
    site(move |site| {
        set_usual_vips(site);
        sh(&format!(
            "echo {value} > /proc/sys/net/ipv4/conf/all/rp_filter
             echo {value} > /proc/sys/net/ipv4/conf/tp0/rp_filter
             echo {value} > /proc/sys/net/ipv4/conf/tpv/rp_filter"
        ));
        let before = site.counters();
        exchange(&ALL);
        let machine = Machine::behind_bridge(site);
        sh(&format!("echo {value} > /proc/sys/net/ipv4/conf/br0/rp_filter"));
        machine.run(|| exchange(&ALL));
        masquerade();
        machine.run(|| exchange(&ALL));
        assert_eq!(site.counters().moved_since(&before), USUAL);
    });
}

#[test]
fn no_reverse_path_filter() {
    with_reverse_path_filter(0);
}

#[test]
fn a_strict_reverse_path_filter() {
    with_reverse_path_filter(1);
}

#[test]
fn a_loose_reverse_path_filter() {
    with_reverse_path_filter(2);
}

/// As ufw: INPUT drops what is neither established nor from lo.
#[test]
fn a_firewall_that_drops_new_input() {
    site(|site| {
        set_usual_vips(site);
        sh("nft add table inet fw
            nft 'add chain inet fw input { type filter hook input priority 0; policy drop; }'
            nft add rule inet fw input ct state established,related accept
            nft add rule inet fw input iifname lo accept");
        exchange(&ALL);
    });
}

/// As firewalld: drops what comes from where its source is not routed to.
#[test]
fn a_firewall_that_checks_the_reverse_path() {
    site(|site| {
        set_usual_vips(site);
        sh("nft add table inet fw
            nft 'add chain inet fw pre { type filter hook prerouting priority -290; }'
            nft add rule inet fw pre fib saddr . mark . iif oif missing drop");
        exchange(&ALL);
    });
}
