//! ICMP errors about flows through a VIP: outside and in the quote, every address and every checksum. The reference is
//! the same error made from scratch for the other address.

use std::net::{IpAddr, SocketAddr};

use super::{ETHERNET, Programs, families};
use crate::frames::{ACK, icmp_error, in_two, tcp, udp, with_extension, with_options};

/// A packet that gets quoted, from here to there.
type Build = fn(SocketAddr, SocketAddr) -> Vec<u8>;

/// All but the fragments have the ports where [`cuts`] expects them.
const QUOTED: &[(&str, Build)] = &[
    ("UDP", |from, to| udp(from, to, b"hello")),
    ("UDP, long", |from, to| udp(from, to, &[0xa5; 480])),
    ("UDP without checksum", |from, to| {
        let mut datagram = udp(from, to, b"none");
        let at = if from.is_ipv4() { 26 } else { 46 };
        datagram[at..at + 2].fill(0);
        datagram
    }),
    ("TCP", |from, to| tcp(from, to, ACK, &[1; 12], b"data")),
    ("first fragment", |from, to| in_two(&udp(from, to, &[7; 64]), 24)[0].clone()),
    ("behind other headers", |from, to| {
        let packet = tcp(from, to, ACK, &[], b"x");
        match from {
            SocketAddr::V4(_) => with_options(packet, &[1; 8]),
            SocketAddr::V6(_) => with_extension(packet, 60, [0, 0, 1, 4, 0, 0, 0, 0]),
        }
    }),
];

/// Type, code and the word behind the checksum.
fn errors(of: IpAddr) -> &'static [((u8, u8), [u8; 4])] {
    match of {
        IpAddr::V4(_) => {
            &[((3, 3), [0; 4]), ((3, 4), [0, 0, 5, 0x14]), ((11, 1), [0; 4]), ((12, 0), [20, 0, 0, 0])]
        }
        IpAddr::V6(_) => {
            &[((1, 4), [0; 4]), ((2, 0), [0, 0, 5, 0x14]), ((3, 1), [0; 4]), ((4, 0), [0, 0, 0, 40])]
        }
    }
}

/// What a quote may be cut to: from just the ports to everything, right before and behind each checksum.
fn cuts(packet: &[u8]) -> impl Iterator<Item = usize> {
    let transport = match packet[0] >> 4 {
        4 => usize::from(packet[0] & 0xf) * 4,
        _ if matches!(packet[6], 6 | 17) => 40,
        _ => 48,
    };
    let len = packet.len();
    [4, 6, 8, 9, 16, 18, 19]
        .into_iter()
        .map(move |more| transport + more)
        .filter(move |cut| *cut < len)
        .chain([len])
}

#[test]
fn an_error_of_the_apps_side_is_about_the_address_inside() {
    let programs = Programs::with_vips();
    for (app, cluster, vip) in families() {
        let router = SocketAddr::new(app.ip(), 0).ip();
        for (what, build) in QUOTED {
            for (kind, rest) in errors(app.ip()) {
                for cut in cuts(&build(vip, app)) {
                    let (quote, expected) = (build(vip, app), build(cluster, app));
                    let error = icmp_error(router, vip.ip(), *kind, *rest, &quote[..cut]);
                    let (exit, frame) = programs.run("from_app", &error);
                    assert_eq!(exit, "from_app.icmp_error_vip_crossed", "{what} {kind:?} {cut}");
                    let expected = icmp_error(router, cluster.ip(), *kind, *rest, &expected[..cut]);
                    assert_eq!(frame[14 + ETHERNET..], expected, "{what} {kind:?} {cut}");
                }
            }
        }
    }
}

#[test]
fn an_error_of_the_private_namespace_is_about_the_vip() {
    let mut programs = Programs::with_vips();
    for (app, cluster, vip) in families() {
        for proto in [6, 17] {
            programs.knows_vip_flow(app, cluster, proto, vip.ip());
        }
        for (what, build) in QUOTED {
            for (kind, rest) in errors(app.ip()) {
                for cut in cuts(&build(app, cluster)) {
                    let (quote, expected) = (build(app, cluster), build(app, vip));
                    let error = icmp_error(cluster.ip(), app.ip(), *kind, *rest, &quote[..cut]);
                    let (exit, frame) = programs.run("from_listener", &error);
                    assert_eq!(exit, "from_listener.icmp_error_vip", "{what} {kind:?} {cut}");
                    let expected = icmp_error(vip.ip(), app.ip(), *kind, *rest, &expected[..cut]);
                    assert_eq!(frame[ETHERNET..], expected, "{what} {kind:?} {cut}");
                }
            }
        }
        // One that comes from elsewhere keeps its sender.
        let elsewhere = if app.is_ipv4() { "169.254.255.254" } else { "fd00::fe" }.parse().unwrap();
        let (kind, rest) = errors(app.ip())[0];
        let error = icmp_error(elsewhere, app.ip(), kind, rest, &udp(app, cluster, b"x"));
        let (exit, frame) = programs.run("from_listener", &error);
        assert_eq!(exit, "from_listener.icmp_error_vip");
        assert_eq!(frame[ETHERNET..], icmp_error(elsewhere, app.ip(), kind, rest, &udp(app, vip, b"x")));
    }
}

#[test]
fn an_error_that_is_about_no_vip_stays_as_it_is() {
    let mut programs = Programs::with_vips();
    for (app, cluster, vip) in families() {
        programs.knows_vip_flow(app, cluster, 17, vip.ip());
        let (kind, rest) = errors(app.ip())[0];
        let short = if app.is_ipv4() { 23 } else { 43 };
        let about_us = [
            icmp_error(app.ip(), cluster.ip(), kind, rest, &udp(cluster, app, b"x")),
            icmp_error(app.ip(), vip.ip(), kind, rest, &udp(cluster, app, b"not what it is about")),
            icmp_error(app.ip(), vip.ip(), kind, rest, &udp(vip, app, b"x")[..short]),
            icmp_error(app.ip(), vip.ip(), kind, rest, &[]),
        ];
        for error in about_us {
            let (exit, frame) = programs.run("from_app", &error);
            assert_eq!(exit, "from_app.icmp_error_crossed");
            assert_eq!(frame[14 + ETHERNET..], error);
        }
        let other_port = SocketAddr::new(app.ip(), 4001);
        let about_apps = [
            icmp_error(cluster.ip(), app.ip(), kind, rest, &udp(other_port, cluster, b"x")),
            icmp_error(cluster.ip(), app.ip(), kind, rest, &udp(app, cluster, b"x")[..short]),
        ];
        for error in about_apps {
            let (exit, frame) = programs.run("from_listener", &error);
            assert_eq!(exit, "from_listener.icmp_error");
            assert_eq!(frame[ETHERNET..], error);
        }
    }
}
