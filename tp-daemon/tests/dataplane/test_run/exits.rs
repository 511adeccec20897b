//! Which exit every kind of packet takes.

use super::{APP_V4, APP_V6, ETHERNET, Programs, families};
use crate::frames::{ACK, SYN, as_fragment, ip, tcp, udp, with_extension, with_options};
use crate::site::{V4, V6, at};

#[test]
fn every_kind_of_packet_of_an_app_takes_its_exit() {
    let mut programs = Programs::new();
    let (v4, v6) = (at(APP_V4, 4000), at(APP_V6, 4000));
    programs.knows_flow(v4, at(V4, 53));
    programs.knows_flow(v6, at(V6, 53));
    let hop_by_hop = |packet| with_extension(packet, 0, [0, 0, 0xc2, 4, 0, 1, 0, 0]);
    let icmp = |kind| ip(v4.ip(), at(V4, 0).ip(), 1, &[kind, 0, 0, 0, 0, 0, 0, 0]);
    let icmpv6 = |kind| ip(v6.ip(), at(V6, 0).ip(), 58, &[kind, 0, 0, 0, 0, 0, 0, 0]);
    let syn4 = || tcp(v4, at(V4, 80), SYN, &[], &[]);
    let syn6 = || tcp(v6, at(V6, 80), SYN, &[], &[]);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("SYN", syn4(), "from_app.syn_held"),
        ("SYN, IPv6", syn6(), "from_app.syn_held"),
        ("SYN behind IP options", with_options(syn4(), &[1; 8]), "from_app.syn_held"),
        ("SYN behind 40 bytes of options", with_options(syn4(), &[1; 40]), "from_app.syn_held"),
        ("SYN behind a hop-by-hop header", hop_by_hop(syn6()), "from_app.syn_held"),
        ("SYN+ECE+CWR", tcp(v4, at(V4, 80), SYN | 0xc0, &[], &[]), "from_app.syn_held"),
        ("SYN+ACK", tcp(v4, at(V4, 80), SYN | ACK, &[], &[]), "from_app.tcp_crossed"),
        ("data", tcp(v4, at(V4, 80), ACK, &[], b"hello"), "from_app.tcp_crossed"),
        ("data, IPv6", tcp(v6, at(V6, 80), ACK, &[], b"hello"), "from_app.tcp_crossed"),
        ("jumbogram's header", hop_by_hop(tcp(v6, at(V6, 80), ACK, &[], b"x")), "from_app.tcp_crossed"),
        ("RST", tcp(v4, at(V4, 80), 0x04, &[], &[]), "from_app.tcp_crossed"),
        ("new UDP flow", udp(v4, at(V4, 54), b"x"), "from_app.udp_held"),
        ("new UDP flow, IPv6", udp(v6, at(V6, 54), b"x"), "from_app.udp_held"),
        ("known UDP flow", udp(v4, at(V4, 53), b"x"), "from_app.udp_crossed"),
        ("known UDP flow, IPv6", udp(v6, at(V6, 53), b"x"), "from_app.udp_crossed"),
        (
            "head of a known flow's datagram",
            as_fragment(udp(v4, at(V4, 53), &[0; 32]), 0, true),
            "from_app.udp_crossed",
        ),
        ("later fragment", as_fragment(udp(v4, at(V4, 54), &[0; 32]), 16, true), "from_app.fragment_crossed"),
        ("last fragment", as_fragment(udp(v4, at(V4, 54), &[0; 32]), 16, false), "from_app.fragment_crossed"),
        (
            "head, IPv6",
            with_extension(udp(v6, at(V6, 54), b"x"), 44, [0, 0, 0, 1, 0, 0, 0, 9]),
            "from_app.udp_held",
        ),
        (
            "later, IPv6",
            with_extension(udp(v6, at(V6, 54), b"x"), 44, [0, 0, 0, 9, 0, 0, 0, 9]),
            "from_app.fragment_crossed",
        ),
        ("DNS query", udp(v4, at("198.18.84.114", 53), b"x"), "from_app.dns_crossed"),
        ("DNS over TCP", tcp(v6, at("fd74:7074::2", 53), SYN, &[], &[]), "from_app.dns_crossed"),
        ("ping", icmp(8), "from_app.icmp_to_daemon"),
        ("ping, IPv6", icmpv6(128), "from_app.icmp_to_daemon"),
        ("port unreachable", icmp(3), "from_app.icmp_error_crossed"),
        ("time exceeded", icmp(11), "from_app.icmp_error_crossed"),
        ("packet too big, IPv6", icmpv6(2), "from_app.icmp_error_crossed"),
        ("GRE", ip(v4.ip(), at(V4, 0).ip(), 47, &[0; 8]), "from_app.other_to_daemon"),
        ("mDNS", udp(v4, at("224.0.0.251", 5353), b"x"), "from_app.multicast_dropped"),
        ("MLD", ip(v6.ip(), at("ff02::16", 0).ip(), 58, &[143, 0, 0, 0]), "from_app.multicast_dropped"),
        ("cut TCP header", ip(v4.ip(), at(V4, 0).ip(), 6, &[0; 13]), "from_app.unreadable_to_daemon"),
        ("cut UDP header", ip(v6.ip(), at(V6, 0).ip(), 17, &[0; 7]), "from_app.unreadable_to_daemon"),
        ("IHL below 5", [&[0x44][..], &syn4()[1..]].concat(), "from_app.unreadable_to_daemon"),
        (
            "extension beyond the end",
            with_extension(syn6(), 0, [0, 255, 0, 0, 0, 0, 0, 0]),
            "from_app.unreadable_to_daemon",
        ),
    ];
    for (what, packet, exit) in cases {
        assert_eq!(programs.run("from_app", &packet).0, exit, "{what}");
    }
    let arp = [&[2; 12][..], &[0x08, 0x06], &[0; 28]].concat();
    let before = programs.counters();
    assert_eq!(programs.run_frame("from_app", &arp, &before).0, "from_app.unreadable_to_daemon");
}

#[test]
fn crossing_puts_the_pairs_header_before_an_unchanged_packet() {
    let programs = Programs::new();
    for (app, cluster, _) in families() {
        let packet = tcp(app, cluster, ACK, &[], b"hello");
        let (_, frame) = programs.run("from_app", &packet);
        let mac = tp_common::PAIR_MAC;
        assert_eq!(frame[..12], [mac, mac].concat());
        assert_eq!(frame[12..14], if cluster.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] });
        assert_eq!(frame[14 + ETHERNET..], packet); // the test's own header is still there
    }
}

#[test]
fn every_kind_of_packet_on_the_tuns_other_side_takes_its_exit() {
    let programs = Programs::new();
    let (app, cluster) = (at(APP_V4, 4000), at(V4, 80));
    let cases = [
        (tcp(app, cluster, SYN, &[], &[]), "from_daemon.syn_crossed"),
        (udp(app, cluster, b"x"), "from_daemon.udp_crossed"),
        (tcp(cluster, app, 0x14, &[], &[]), "from_daemon.answer_passed"),
        (ip(cluster.ip(), app.ip(), 1, &[3, 1, 0, 0, 0, 0, 0, 0]), "from_daemon.answer_passed"),
        (ip(cluster.ip(), app.ip(), 6, &[0; 4]), "from_daemon.unreadable_dropped"),
    ];
    for (packet, exit) in cases {
        assert_eq!(programs.run("from_daemon", &packet).0, exit);
    }
    let replies = [
        (tcp(cluster, app, SYN | ACK, &[], &[]), "from_listener.tcp"),
        (udp(cluster, app, b"x"), "from_listener.udp"),
        (as_fragment(udp(cluster, app, &[0; 32]), 16, false), "from_listener.fragment"),
        (ip(cluster.ip(), app.ip(), 1, &[0; 8]), "from_listener.other"),
        (ip(cluster.ip(), app.ip(), 1, &[3, 3, 0, 0, 0, 0, 0, 0]), "from_listener.icmp_error"),
        (ip(cluster.ip(), at("224.0.0.22", 0).ip(), 2, &[0; 8]), "from_listener.noise_dropped"),
        (ip(cluster.ip(), app.ip(), 17, &[0; 4]), "from_listener.unreadable_dropped"),
    ];
    for (packet, exit) in replies {
        assert_eq!(programs.run("from_listener", &packet).0, exit);
    }
}
