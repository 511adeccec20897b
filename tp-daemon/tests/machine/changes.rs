//! Changes that are noticed, and those that are not meant to be.

use std::time::Duration;

use tp_daemon::machine::Watch;

use crate::namespace::in_namespace;
use crate::place::{ip, ip_batch, runtime};

/// Longer than the pause that lets changes come together.
const QUIET: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(10);

/// Each thing that makes a change, with what must be there before.
const NOTICED: &[&str] = &[
    "tuntap add vpn8 mode tun",
    "link set vpn8 up",
    "addr add 10.8.0.1/24 dev vpn8",
    "-6 addr add fd08::1/64 dev vpn8 nodad",
    "route add 10.0.0.0/8 dev vpn8",
    "-6 route add fd00::/8 dev vpn8",
    "route add 10.1.0.0/16 dev vpn8 table 52",
    "route add blackhole 10.2.0.0/16",
    "rule add pref 5270 lookup 52",
    "-6 rule add pref 5270 lookup 52",
    "rule del pref 5270",
    "route del 10.0.0.0/8 dev vpn8",
    "nexthop add id 8 blackhole",
    "link del vpn8",
];

async fn quiet(watch: &mut Watch) -> bool {
    tokio::time::timeout(QUIET, watch.changed()).await.is_err()
}

async fn settle(watch: &mut Watch) {
    while !quiet(watch).await {}
}

#[test]
fn whatever_changes_a_way_out_of_this_machine_is_noticed_once() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut watch = Watch::start().unwrap();
            settle(&mut watch).await;
            for change in NOTICED {
                ip(change);
                let noticed = tokio::time::timeout(PATIENCE, watch.changed()).await;
                assert!(noticed.is_ok(), "{change}");
                settle(&mut watch).await;
            }
        });
    });
}

#[test]
fn what_happens_on_our_own_devices_is_no_change() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut watch = Watch::start().unwrap();
            for name in ["tp0", "tpv"] {
                ip(&format!("tuntap add {name} mode tun"));
                ip(&format!("link set {name} up"));
                ip(&format!("addr add 198.18.84.113/30 dev {name}"));
                ip(&format!("route add 10.96.0.0/16 dev {name}"));
                ip(&format!("route del 10.96.0.0/16 dev {name}"));
                ip(&format!("addr del 198.18.84.113/30 dev {name}"));
            }
            assert!(quiet(&mut watch).await);
            ip("tuntap add vpn8 mode tun");
            assert!(!quiet(&mut watch).await, "but others are");
        });
    });
}

/// Many of them, far more than a socket's buffer holds.
fn routes_by(device: &str) -> String {
    (0..20_000).map(|n| format!("route add 10.{}.{}.0/24 dev {device}\n", n / 250, n % 250)).collect()
}

#[test]
fn changes_that_come_together_are_told_together() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut watch = Watch::start().unwrap();
            ip("tuntap add vpn8 mode tun");
            ip("link set vpn8 up");
            settle(&mut watch).await;
            ip_batch(&routes_by("vpn8"));
            assert!(!quiet(&mut watch).await);
            settle(&mut watch).await;
            ip("route add 192.0.2.0/24 dev vpn8");
            assert!(!quiet(&mut watch).await, "it listens on");
        });
    });
}

/// The only change that concerns us is among those that the kernel could not tell.
#[test]
fn a_change_that_is_lost_to_an_overrun_is_told_nevertheless() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut watch = Watch::start().unwrap();
            for name in ["tp0", "vpn8"] {
                ip(&format!("tuntap add {name} mode tun"));
                ip(&format!("link set {name} up"));
            }
            settle(&mut watch).await;
            // nobody reads meanwhile
            ip_batch(&(routes_by("tp0") + "route add 192.0.2.0/24 dev vpn8\n"));
            assert!(!quiet(&mut watch).await);
        });
    });
}

#[test]
fn a_wait_that_is_given_up_forgets_nothing() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut watch = Watch::start().unwrap();
            settle(&mut watch).await;
            ip("tuntap add vpn8 mode tun");
            let short = Duration::from_millis(20);
            assert!(tokio::time::timeout(short, watch.changed()).await.is_err(), "it waits for more");
            assert!(!quiet(&mut watch).await);
        });
    });
}
