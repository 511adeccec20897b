//! What the kernel is read to say, against what `ip` says of the same machine: in network namespaces of the tests' own.
//!
//! Needs root. A namespace goes away with its thread; nothing is touched outside.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

mod changes;
#[path = "../support/namespace.rs"]
mod namespace;
mod oracle;
mod place;

use namespace::in_namespace;
use place::{ip, seen};

/// Devices and routes of every sort that VPNs, container engines and people make.
fn furnish() {
    ip("link add eth9 type veth peer name wire9");
    ip("link set eth9 up");
    ip("link set wire9 up");
    ip("addr add 192.0.2.10/24 dev eth9");
    ip("addr add 192.0.2.11/24 dev eth9");
    ip("-6 addr add 2001:db8:1::10/64 dev eth9 nodad");
    ip("link add docker9 type bridge");
    ip("link set docker9 up");
    ip("addr add 172.18.0.1/16 dev docker9");
    ip("tuntap add vpn9 mode tun");
    ip("link set vpn9 up");
    ip("addr add 10.9.0.2 peer 10.9.0.1/24 dev vpn9");
    ip("link add down9 type veth peer name down8");

    ip("route add default via 192.0.2.1");
    ip("route add 0.0.0.0/1 dev vpn9");
    ip("route add 10.0.0.0/8 dev vpn9 metric 50");
    ip("route add 10.0.0.0/8 via 192.0.2.2 metric 600");
    ip("route add 10.66.0.0/16 via inet6 2001:db8:1::1 dev eth9");
    ip("route add 10.77.0.0/16 nexthop via 192.0.2.3 weight 2 nexthop dev vpn9");
    ip("route add blackhole 10.128.0.0/16");
    ip("route add unreachable 10.129.0.0/16");
    ip("route add prohibit 10.130.0.0/16 table 77");
    ip("route add throw 10.131.0.0/16 table 77");
    ip("route add default dev vpn9 table 52");
    ip("route add 100.64.0.0/10 dev vpn9 table 4000000000");
    ip("-6 route add default via 2001:db8:1::1");
    ip("-6 route add 8000::/1 dev vpn9");
    ip("-6 route add 2001:db8:2::/48 metric 7 nexthop via 2001:db8:1::2 nexthop via 2001:db8:1::3");
    ip("-6 route add blackhole fd00::/8");
    ip("-6 route add unreachable fd01::/16 table 77");

    ip("rule add pref 100 from 192.0.2.0/24 to 10.5.0.0/16 lookup 77");
    ip("rule add pref 110 iif eth9 lookup 52");
    ip("rule add pref 111 oif vpn9 lookup 52");
    ip("rule add pref 112 uidrange 1000-1999 lookup 52");
    ip("rule add pref 113 ipproto tcp dport 443 lookup 52");
    ip("rule add pref 114 tos 0x10 lookup 52");
    ip("rule add pref 115 l3mdev");
    ip("rule add pref 116 to 203.0.112.0/24 goto 32766");
    ip("rule add pref 117 goto 31999");
    ip("rule add pref 118 nop");
    ip("rule add pref 119 to 203.0.113.0/24 blackhole");
    ip("rule add pref 120 to 203.0.114.0/24 unreachable");
    ip("rule add pref 121 to 203.0.115.0/24 prohibit");
    ip("rule add pref 5210 fwmark 0x80000/0xff0000 lookup main");
    ip("rule add pref 5211 fwmark 0x0/0x10000 lookup main");
    ip("rule add pref 5212 not fwmark 0xca6c lookup 51820");
    ip("rule add pref 5213 lookup main suppress_prefixlength 0");
    ip("-6 rule add pref 5270 not from fd00::/8 lookup 52");
    ip("-6 rule add pref 5271 lookup main suppress_prefixlength 0");
}

#[test]
fn everything_is_seen_as_ip_shows_it() {
    in_namespace(|| {
        furnish();
        let machine = seen();
        assert_eq!(oracle::links_seen(&machine), oracle::links_shown());
        assert_eq!(oracle::addresses_seen(&machine), oracle::addresses_shown());
        assert_eq!(oracle::routes_seen(&machine), oracle::routes_shown());
        assert_eq!(oracle::rules_seen(&machine), oracle::rules_shown());
    });
}

/// A kernel that is told so names the object alone (net.ipv4.nexthop_compat_mode).
#[test]
fn next_hop_objects_are_looked_up_if_the_route_does_not_repeat_them() {
    in_namespace(|| {
        furnish();
        ip("nexthop add id 1 via 192.0.2.7 dev eth9");
        ip("nexthop add id 2 via 192.0.2.8 dev eth9");
        ip("nexthop add id 3 group 1/2");
        ip("nexthop add id 4 blackhole");
        ip("nexthop add id 6 via 2001:db8:1::7 dev eth9");
        ip("route add 10.201.0.0/16 nhid 1");
        ip("route add 10.203.0.0/16 nhid 3");
        ip("route add 10.204.0.0/16 nhid 4");
        ip("-6 route add 2001:db8:6::/48 nhid 6");
        let told = seen();
        assert_eq!(oracle::routes_seen(&told), oracle::routes_shown());
        std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "0").unwrap();
        assert!(oracle::routes_seen(&told) != oracle::routes_shown(), "`ip` does not look them up");
        assert_eq!(oracle::routes_seen(&seen()), oracle::routes_seen(&told));
    });
}

#[test]
fn a_machine_with_ten_thousand_routes_is_seen_whole() {
    in_namespace(|| {
        furnish();
        let mut batch = String::new();
        for third in 0..40 {
            for fourth in 0..250 {
                batch.push_str(&format!("route add 10.88.{third}.{fourth}/32 dev vpn9\n"));
            }
        }
        place::ip_batch(&batch);
        let many =
            seen().routes.iter().filter(|route| route.network.to_string().starts_with("10.88.")).count();
        assert_eq!(many, 10_000);
    });
}

#[test]
fn the_kernel_tells_by_which_way_an_address_leaves() {
    in_namespace(|| {
        furnish();
        ip("rule add pref 200 to 10.130.0.0/16 lookup 77");
        ip("rule add pref 201 to 198.51.100.0/24 lookup 52");
        for (address, expected) in [
            ("192.0.2.77", "Unicast by eth9 in table 254"),
            ("10.1.2.3", "Unicast by vpn9 in table 254"),
            ("198.51.100.1", "Unicast by vpn9 in table 52"),
            ("200.0.0.1", "Unicast by eth9 in table 254"),
            ("192.0.2.10", "Local by lo in table 255"),
            ("10.128.1.1", "Blackhole"),
            ("10.129.1.1", "Unreachable"),
            ("10.130.1.1", "Prohibit"),
            ("203.0.113.1", "Blackhole"),
            ("203.0.114.1", "no route"),
            ("203.0.115.1", "Prohibit"),
            ("2001:db8:1::77", "Unicast by eth9 in table 254"),
            ("9000::1", "Unicast by vpn9 in table 254"),
            ("fd00::1", "Blackhole"),
        ] {
            assert_eq!(place::leaves_by(address), expected, "{address}");
        }
        ip("route del default");
        assert_eq!(place::leaves_by("200.0.0.1"), "no route");
        ip("-6 route del default");
        assert_eq!(place::leaves_by("2001:db8:77::1"), "no route");
    });
}
