//! VIP to the address inside and back. What comes out must be, byte by byte, what the same builder makes for the other
//! address from scratch: that is the reference for every checksum.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tp_common::Addr;

use super::{ETHERNET, Programs, families};
use crate::frames::{ACK, SYN, checksums_are_right, in_two, tcp, udp, with_extension, with_options};

/// A packet from here to there.
type Build = fn(SocketAddr, SocketAddr) -> Vec<u8>;

const HOP_BY_HOP: (u8, [u8; 8]) = (0, [0, 0, 1, 4, 0, 0, 0, 0]);
const ROUTING: (u8, [u8; 8]) = (43, [0, 0, 4, 0, 0, 0, 0, 0]); // no segments left
const DESTINATION: (u8, [u8; 8]) = (60, [0, 0, 1, 4, 0, 0, 0, 0]);

/// As TCP and UDP packets come in both families.
const EITHER: &[(&str, Build)] = &[
    ("TCP, bare", |from, to| tcp(from, to, ACK, &[], &[])),
    ("TCP, timestamps", |from, to| tcp(from, to, ACK, &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], b"data")),
    ("TCP, 40 bytes of options", |from, to| tcp(from, to, ACK, &[1; 40], b"x")),
    ("TCP, odd length", |from, to| tcp(from, to, ACK, &[], &[0xff; 701])),
    ("TCP, FIN", |from, to| tcp(from, to, ACK | 1, &[], &[])),
    ("TCP, RST", |from, to| tcp(from, to, 4, &[], &[])),
    ("UDP, empty", |from, to| udp(from, to, &[])),
    ("UDP, odd length", |from, to| udp(from, to, b"hello")),
    ("UDP, long", |from, to| udp(from, to, &[0xff; 1400])),
    ("UDP, without checksum", |from, to| without_checksum(udp(from, to, b"none"))),
    ("UDP, first fragment", |from, to| in_two(&udp(from, to, &[7; 64]), 24)[0].clone()),
];

const ONLY_V4: &[(&str, Build)] = &[
    ("TCP behind IP options", |from, to| with_options(tcp(from, to, ACK, &[], b"x"), &[1; 8])),
    ("UDP behind 40 bytes of IP options", |from, to| with_options(udp(from, to, b"x"), &[1; 40])),
    ("UDP, first fragment behind IP options", |from, to| {
        in_two(&with_options(udp(from, to, &[7; 64]), &[1; 4]), 8)[0].clone()
    }),
];

const ONLY_V6: &[(&str, Build)] = &[
    ("TCP behind hop-by-hop", |from, to| behind(tcp(from, to, ACK, &[], b"x"), &[HOP_BY_HOP])),
    ("UDP behind destination options", |from, to| behind(udp(from, to, b"x"), &[DESTINATION])),
    ("TCP behind all of them", |from, to| {
        behind(tcp(from, to, ACK, &[1; 12], b"xyz"), &[DESTINATION, ROUTING, DESTINATION, HOP_BY_HOP])
    }),
    ("UDP, first fragment behind hop-by-hop", |from, to| {
        behind(in_two(&udp(from, to, &[7; 64]), 16)[0].clone(), &[HOP_BY_HOP])
    }),
];

fn shapes(of: SocketAddr) -> impl Iterator<Item = &'static (&'static str, Build)> {
    EITHER.iter().chain(if of.is_ipv4() { ONLY_V4 } else { ONLY_V6 })
}

/// The last one comes first in the packet.
fn behind(packet: Vec<u8>, extensions: &[(u8, [u8; 8])]) -> Vec<u8> {
    extensions.iter().fold(packet, |packet, (kind, bytes)| with_extension(packet, *kind, *bytes))
}

fn without_checksum(mut datagram: Vec<u8>) -> Vec<u8> {
    let at = if datagram[0] >> 4 == 4 { 26 } else { 46 };
    datagram[at..at + 2].fill(0);
    datagram
}

/// A SYN of the same headers, since that is what the daemon writes back.
fn held(of: SocketAddr) -> [(&'static str, Build); 3] {
    [
        ("SYN", |from, to| tcp(from, to, SYN, &[2, 4, 5, 180], &[])),
        ("SYN with data", |from, to| tcp(from, to, SYN, &[], b"early")),
        if of.is_ipv4() {
            ("SYN behind IP options", |from, to| with_options(tcp(from, to, SYN, &[], &[]), &[1; 8]))
        } else {
            ("SYN behind destination options", |from, to| {
                behind(tcp(from, to, SYN, &[], &[]), &[DESTINATION])
            })
        },
    ]
}

#[test]
fn every_shape_of_packet_to_a_vip_is_rewritten() {
    let mut programs = Programs::with_vips();
    for (app, cluster, vip) in families() {
        programs.knows_flow(app, vip);
        for (what, build) in shapes(app) {
            let (exit, frame) = programs.run("from_app", &build(app, vip));
            assert!(exit.ends_with("_vip_crossed"), "{what}: {exit}");
            assert_eq!(frame[14 + ETHERNET..], build(app, cluster), "{what} {app}");
            // What is for no VIP stays as it is.
            let (exit, frame) = programs.run("from_app", &build(app, SocketAddr::new(cluster.ip(), 443)));
            if !exit.ends_with("_held") {
                let as_it_was = build(app, SocketAddr::new(cluster.ip(), 443));
                assert_eq!(frame[14 + ETHERNET..], as_it_was, "{what} {app}");
            }
        }
        let datagrams = shapes(app).copied().filter(|(what, _)| what.starts_with("UDP"));
        for (what, build) in held(app).into_iter().chain(datagrams) {
            let (exit, frame) = programs.run("from_daemon", &build(app, vip));
            assert!(exit.ends_with("_vip_crossed"), "{what}: {exit}");
            assert_eq!(frame[14 + ETHERNET..], build(app, cluster), "{what} {app}");
        }
    }
}

#[test]
fn every_shape_of_answer_gets_its_vip_back() {
    let mut programs = Programs::with_vips();
    for (app, cluster, vip) in families() {
        for proto in [6, 17] {
            programs.knows_vip_flow(app, cluster, proto, vip.ip());
        }
        for (what, build) in shapes(app) {
            let (exit, frame) = programs.run("from_listener", &build(cluster, app));
            assert!(exit.ends_with("_vip"), "{what}: {exit}");
            assert_eq!(frame[ETHERNET..], build(vip, app), "{what} {app}");
            // Another flow of the same address is none of the VIP's.
            let other = SocketAddr::new(app.ip(), 4001);
            let (exit, frame) = programs.run("from_listener", &build(cluster, other));
            assert!(!exit.ends_with("_vip"), "{what}: {exit}");
            assert_eq!(frame[ETHERNET..], build(cluster, other), "{what} {app}");
        }
    }
}

/// Only the address and IPv4's header checksum change: what looks like a UDP header is data.
#[test]
fn later_fragments_keep_their_vip_both_ways() {
    let mut programs = Programs::with_vips();
    for (app, cluster, vip) in families() {
        programs.knows_vip_flow(app, cluster, 17, vip.ip());
        let [_, out] = in_two(&udp(app, vip, &[7; 64]), 40);
        let (exit, frame) = programs.run("from_app", &out);
        assert_eq!(exit, "from_app.fragment_vip_crossed");
        assert_eq!(frame[14 + ETHERNET..], in_two(&udp(app, cluster, &[7; 64]), 40)[1]);

        let [head, back] = in_two(&udp(cluster, app, &[7; 64]), 40);
        assert_eq!(programs.run("from_listener", &back).0, "from_listener.fragment", "no head seen");
        assert_eq!(programs.run("from_listener", &head).0, "from_listener.udp_vip");
        let (exit, frame) = programs.run("from_listener", &back);
        assert_eq!(exit, "from_listener.fragment_vip");
        assert_eq!(frame[ETHERNET..], in_two(&udp(vip, app, &[7; 64]), 40)[1]);
    }
}

/// A checksum that comes out as zero would mean "none".
#[test]
fn a_udp_checksum_never_becomes_zero() {
    let mut programs = Programs::with_vips();
    for (app, cluster, vip) in families() {
        programs.knows_flow(app, vip);
        let at = if app.is_ipv4() { 26 } else { 46 };
        let ones = |packet: &[u8]| packet[at..at + 2] == [0xff, 0xff];
        for (before, after) in [(vip, cluster), (cluster, vip)] {
            // `udp` writes all ones where the sum gives zero, or where the payload happens to ask for it.
            let payload = (0..=u16::MAX).find(|word| ones(&udp(app, after, &word.to_be_bytes()))).unwrap();
            let packet = udp(app, before, &payload.to_be_bytes());
            if before == vip {
                assert_eq!(
                    programs.run("from_app", &packet).1[14 + ETHERNET..],
                    udp(app, cluster, &payload.to_be_bytes())
                );
            } else {
                programs.knows_vip_flow(app, cluster, 17, vip.ip());
                let back = udp(cluster, app, &payload.to_be_bytes());
                assert_eq!(
                    programs.run("from_listener", &back).1[ETHERNET..],
                    udp(vip, app, &payload.to_be_bytes())
                );
            }
        }
    }
}

/// Rewriting must not make a damaged packet look whole.
#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut programs = Programs::with_vips();
    for (app, _, vip) in families() {
        programs.knows_flow(app, vip);
        for mut packet in [tcp(app, vip, ACK, &[], b"hello"), udp(app, vip, b"hello")] {
            *packet.last_mut().unwrap() ^= 0x40;
            let (_, frame) = programs.run("from_app", &packet);
            assert!(!checksums_are_right(&frame[14 + ETHERNET..]), "{frame:02x?}");
        }
    }
}

#[test]
fn any_addresses_any_payload() {
    let mut programs = Programs::with_vips();
    let v4 = || any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from(bits & 0x1fff_ffff | 0x4000_0000)));
    let v6 = || any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from(bits >> 4 | 0x2 << 124)));
    let addresses = prop_oneof![(v4(), v4(), v4()), (v6(), v6(), v6())];
    let input = (addresses, any::<[u16; 2]>(), proptest::collection::vec(any::<u8>(), 0..600));
    let property =
        |((app, inside, vip), [from, to], payload): ((IpAddr, IpAddr, IpAddr), [u16; 2], Vec<u8>)| {
            let (app, inside, vip) =
                (SocketAddr::new(app, from), SocketAddr::new(inside, to), SocketAddr::new(vip, to));
            programs.knows_vip(Addr::from(vip.ip()), Addr::from(inside.ip()));
            programs.knows_flow(app, vip);
            for proto in [6, 17] {
                programs.knows_vip_flow(app, inside, proto, vip.ip());
            }
            let whole: [&dyn Fn(SocketAddr, SocketAddr) -> Vec<u8>; 2] =
                [&|from, to| udp(from, to, &payload), &|from, to| tcp(from, to, ACK, &[1; 12], &payload)];
            for build in whole {
                prop_assert_eq!(
                    &programs.run("from_app", &build(app, vip)).1[14 + ETHERNET..],
                    build(app, inside)
                );
                prop_assert_eq!(
                    &programs.run("from_listener", &build(inside, app)).1[ETHERNET..],
                    build(vip, app)
                );
            }
            Ok(())
        };
    let property = std::cell::RefCell::new(property);
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config).run(&input, |case| (property.borrow_mut())(case)).unwrap();
}
