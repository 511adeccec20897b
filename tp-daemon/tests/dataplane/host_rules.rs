//! Whatever the host's reverse-path filter and firewall are, nothing of theirs needs changing.

use crate::forwarded::{Machine, exchange};
use crate::site::{sh, site};

#[test]
fn every_reverse_path_filter_setting() {
    for value in 0..=2 {
        site(move |site| {
            sh(&format!(
                "echo {value} > /proc/sys/net/ipv4/conf/all/rp_filter
                 echo {value} > /proc/sys/net/ipv4/conf/tp0/rp_filter"
            ));
            exchange();
            let machine = Machine::behind_bridge(site);
            sh(&format!("echo {value} > /proc/sys/net/ipv4/conf/br0/rp_filter"));
            machine.run(exchange);
        });
    }
}

/// As ufw: INPUT drops what is neither established nor from lo.
#[test]
fn a_firewall_that_drops_new_input() {
    site(|_| {
        sh("nft add table inet fw
            nft 'add chain inet fw input { type filter hook input priority 0; policy drop; }'
            nft add rule inet fw input ct state established,related accept
            nft add rule inet fw input iifname lo accept");
        exchange();
    });
}

/// As firewalld: drops what comes from where its source is not routed to.
#[test]
fn a_firewall_that_checks_the_reverse_path() {
    site(|_| {
        sh("nft add table inet fw
            nft 'add chain inet fw pre { type filter hook prerouting priority -290; }'
            nft add rule inet fw pre fib saddr . mark . iif oif missing drop");
        exchange();
    });
}
