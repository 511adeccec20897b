//! Messages that Linux 6.18 sent, recorded.

use proptest::prelude::*;
use tp_core::machine::{Address, Link, Route, RouteKind, Rule, RuleAction};

use super::kernel::{Family, Message};
use super::{links, next_hops, routes, rules};

/// `vpn9`, made by `ip tuntap add vpn9 mode tun`; without the attributes between its name and its kind.
const LINK: &str = "0000feff0400000091100000000000000900030076706e3900000000380012000800010074756e002c000200050003000100000\
    00500040000000000050005000000000005000600010000000500070000000000";
/// `ip addr add 10.9.0.2 peer 10.9.0.1/24 dev vpn9`
const ADDRESS: &str = "0218800004000000080001000a090001080002000a0900020900030076706e3900000000080008008000000014000600ffffff\
    ffffffffffe2fe1600e2fe1600";
/// `ip route add 10.77.0.0/16 nexthop via 192.0.2.3 weight 2 nexthop dev vpn9`
const MULTIPATH: &str = "02100000fe0300010000000008000f00fe000000080001000a4d00001c000900100000010300000008000500c00002030800\
    100004000000";
/// `ip -6 route add blackhole fd00::/8`
const BLACKHOLE: &str = "0a080000fe0300060000000008000f00fe00000014000100fd0000000000000000000000000000000800060000040000080\
    004000100000024000c0000000000000000000000000000000000000000000000000000000000000000000500140000000000";
/// `ip rule add pref 5212 not fwmark 0x80000/0xff0000 lookup 51820`
const RULE: &str = "02000000fc0000010200000008000f006cca000008000e00ffffffff0500150000000000080006005c14000008000a00000008000\
    80010000000ff00";
/// `ip rule add pref 112 uidrange 1000-1999 lookup 52`
const OF_USERS: &str = "02000000340000010000000008000f003400000008000e00ffffffff050015000000000008000600700000000c001400e803\
    0000cf070000";
/// `ip rule add pref 117 goto 31999`, where no rule is
const GOTO: &str = "02000000000000020400000008000f000000000008000e00ffffffff0500150000000000080006007500000008000400ff7c0000";
/// `ip nexthop add id 1 via 192.0.2.7 dev eth9`, and 3, a group of that and one that has gone
const OBJECTS: [&str; 2] = [
    "02fd0000000000000800010001000000080005000300000008000600c0000207",
    "000000000000000008000100030000000600030000000000140002000100000000000000020000000000000008000e0000000080",
];

fn message(hex: &str) -> Message {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    Message { kind: 0, payload: digits.chunks(2).map(byte).collect() }
}

#[test]
fn links_and_addresses_are_read() {
    let tun = Link {
        index: 4,
        name: "vpn9".to_owned(),
        kind: "tun".to_owned(),
        loopback: false,
        point_to_point: true,
        up: true,
    };
    assert_eq!(links::link(&message(LINK)), Some(tun));
    let own = Address { link: 4, net: "10.9.0.2/32".parse().unwrap() };
    assert_eq!(links::address(&message(ADDRESS)), Some(own), "the /24 is the peer's");
}

#[test]
fn a_route_is_told_once_for_each_of_its_ways() {
    let found = routes::route(&message(MULTIPATH), Family::V4).unwrap();
    let way = |link, gateway: Option<&str>| Route {
        table: 254,
        network: "10.77.0.0/16".parse().unwrap(),
        kind: RouteKind::Unicast,
        link: Some(link),
        gateway: gateway.map(|ip| ip.parse().unwrap()),
        metric: 0,
    };
    let ways = [way(3, Some("192.0.2.3")), way(4, None)];
    assert_eq!(found.resolve(&next_hops::Table::default()), ways);
    assert_eq!(routes::devices(&message(MULTIPATH).payload), [3, 4]);
    assert_eq!(routes::route(&message(MULTIPATH), Family::V6), None);
}

#[test]
fn a_blackhole_has_no_device_though_ipv6_names_one() {
    let found = routes::route(&message(BLACKHOLE), Family::V6).unwrap();
    let routes = found.resolve(&next_hops::Table::default());
    let [Route { kind: RouteKind::Blackhole, link: None, metric: 1024, .. }] = &routes[..] else {
        panic!("{routes:?}")
    };
}

#[test]
fn rules_are_read_with_their_selectors() {
    let plain = Rule {
        priority: 5212,
        v6: false,
        action: RuleAction::Table(51820),
        from: None,
        to: None,
        fwmark: Some((0x80000, 0x00ff_0000)),
        invert: true,
        iif: None,
        oif: None,
        uids: None,
        suppress_prefix_length: None,
        other_selector: false,
    };
    assert_eq!(rules::rule(&message(RULE), Family::V4), Some(plain));
    assert_eq!(rules::rule(&message(OF_USERS), Family::V4).unwrap().uids, Some((1000, 1999)));
    let goto = rules::rule(&message(GOTO), Family::V4).unwrap();
    assert_eq!(goto.action, RuleAction::Nop, "the kernel passes over it");
}

#[test]
fn next_hops_are_found_by_number() {
    let table = next_hops::table(&OBJECTS.map(message));
    let way = (Some(3), Some("192.0.2.7".parse().unwrap()));
    assert_eq!(table.ways(1), Some(vec![way]));
    assert_eq!(table.ways(3), Some(vec![way]));
    assert_eq!(table.ways(7), Some(vec![(None, None)]), "gone meanwhile: it may lead anywhere");
}

/// A recorded message with some of its bytes changed, or cut.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let recorded =
        [LINK, ADDRESS, MULTIPATH, BLACKHOLE, RULE, OF_USERS, GOTO, OBJECTS[0], OBJECTS[1]].map(message);
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (prop::sample::select(recorded.to_vec()), changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(message, changes, end, cut)| {
            let mut bytes = message.payload;
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if cut {
                bytes.truncate(end.index(bytes.len()));
            }
            bytes
        },
    )
}

fn read_all(payload: Vec<u8>) {
    let message = Message { kind: 0, payload };
    let _ = links::link(&message);
    let _ = links::address(&message);
    let _ = links::name(&message.payload);
    let _ = routes::devices(&message.payload);
    let table = next_hops::table(std::slice::from_ref(&message));
    for family in [Family::V4, Family::V6] {
        let _ = rules::rule(&message, family);
        let _ = routes::route(&message, family).map(|found| found.resolve(&table));
    }
}

#[test]
fn fuzz_no_message_makes_a_reader_panic() {
    bolero::check!().for_each(|payload: &[u8]| read_all(payload.to_vec()));
}

proptest! {
    #[test]
    fn no_damaged_message_makes_a_reader_panic(payload in damaged()) {
        read_all(payload);
    }
}
