//! The packet programs one packet at a time (PROG_TEST_RUN): which exit each kind of packet takes, and what the
//! packet looks like afterwards. Every exit of the three programs that a packet alone can provoke is here.

use std::net::{IpAddr, SocketAddr};

use aya::Ebpf;
use aya::maps::{Array, HashMap, PerCpuArray};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use tp_common::Addr;
use tp_common::flow::{FlowKey, FlowValue};
use tp_common::outcome::{Outcome, Verdict};
use tp_common::vip::NatKey;
use tp_daemon::dataplane::programs::{Settings, load};

use crate::frames::{ACK, SYN, as_fragment, checksums_are_right, ip, tcp, udp, with_extension, with_options};
use crate::site::{V4, V6, at};

const APP_V4: &str = "198.18.84.113";
const APP_V6: &str = "fd74:7074::1";
const VIP_V4: &str = "10.99.0.1";
const VIP_V6: &str = "fd99::1";
const ETHERNET: usize = 14;

struct Programs(Ebpf);

impl Programs {
    fn new() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "the dataplane's tests need root: sudo -E cargo test -p tp-daemon"
        );
        let address = |text: &str| Addr::from(text.parse::<IpAddr>().unwrap());
        let settings = Settings {
            tun_if: 1,
            pair_if: 1,
            link_len: 14, // the kernel puts an Ethernet header before every test packet
            dns_v4: address("198.18.84.114"),
            dns_v6: address("fd74:7074::2"),
            netns_cookie: 1,
            log_level: 0,
        };
        Self(load(&settings).unwrap())
    }

    fn with_block() -> Self {
        let mut programs = Self::new();
        let mut block: Array<_, u64> = programs.0.map_mut("BLOCK").unwrap().try_into().unwrap();
        block.set(0, 1, 0).unwrap();
        programs
    }

    fn with_vips() -> Self {
        let mut programs = Self::new();
        let mut vips: HashMap<_, Addr, Addr> = programs.0.map_mut("VIPS").unwrap().try_into().unwrap();
        for (vip, cluster) in [(VIP_V4, V4), (VIP_V6, V6)] {
            vips.insert(addr(vip), addr(cluster), 0).unwrap();
        }
        let mut count: Array<_, u32> = programs.0.map_mut("VIP_COUNT").unwrap().try_into().unwrap();
        count.set(0, 2, 0).unwrap();
        programs
    }

    fn knows_flow(&mut self, app: SocketAddr, dest: SocketAddr) {
        let mut flows: HashMap<_, FlowKey, FlowValue> = self.0.map_mut("FLOWS").unwrap().try_into().unwrap();
        let (app_port, dest_port) = (app.port(), dest.port());
        let (app, dest) = (Addr::from(app.ip()), Addr::from(dest.ip()));
        let key = FlowKey { app, dest, app_port, dest_port, proto: 17, zero: [0; 3] };
        flows.insert(key, FlowValue::default(), 0).unwrap();
    }

    fn knows_vip_flow(&mut self, app: SocketAddr, cluster: SocketAddr, proto: u8, vip: &str) {
        let mut nat: HashMap<_, NatKey, Addr> = self.0.map_mut("NAT").unwrap().try_into().unwrap();
        let (app_port, cluster_port) = (app.port(), cluster.port());
        let (app, cluster) = (Addr::from(app.ip()), Addr::from(cluster.ip()));
        nat.insert(NatKey { app, cluster, app_port, cluster_port, proto, zero: [0; 3] }, addr(vip), 0)
            .unwrap();
    }

    /// Runs a program on one packet: the counters that moved (exactly one must) and the packet it leaves.
    fn run(&self, program: &str, packet: &[u8]) -> (&'static str, Vec<u8>) {
        let before = self.counters();
        let kind = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        self.run_frame(program, &[&[2; 12][..], &kind, packet].concat(), &before)
    }

    fn run_frame(&self, program: &str, frame: &[u8], before: &[u64]) -> (&'static str, Vec<u8>) {
        let classifier: &SchedClassifier = self.0.program(program).unwrap().try_into().unwrap();
        let mut out = vec![0; frame.len() + 64];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::default() };
        let result = classifier.test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        let moved: Vec<Outcome> = Outcome::ALL
            .iter()
            .zip(before.iter().zip(self.counters()))
            .flat_map(|(outcome, (before, after))| (*before..after).map(|_| *outcome))
            .collect();
        assert_eq!(moved.len(), 1, "one exit, one count: {moved:?}");
        let verdict = match moved[0].verdict() {
            Verdict::Pass => 0,
            Verdict::Drop => 2,
            Verdict::Cross | Verdict::ToApp => 7,
        };
        assert_eq!(result.return_value, verdict, "{:?}", moved[0]);
        (moved[0].name(), out)
    }

    fn counters(&self) -> Vec<u64> {
        let map: PerCpuArray<_, u64> = self.0.map("OUTCOMES").unwrap().try_into().unwrap();
        (0..Outcome::COUNT).map(|index| map.get(&index, 0).unwrap().iter().sum()).collect()
    }
}

fn addr(text: &str) -> Addr {
    Addr::from(text.parse::<IpAddr>().unwrap())
}

/// Both families: app, cluster address, VIP.
fn families() -> [(SocketAddr, SocketAddr, SocketAddr); 2] {
    [(at(APP_V4, 4000), at(V4, 80), at(VIP_V4, 80)), (at(APP_V6, 4000), at(V6, 80), at(VIP_V6, 80))]
}

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
        (ip(cluster.ip(), at("224.0.0.22", 0).ip(), 2, &[0; 8]), "from_listener.noise_dropped"),
        (ip(cluster.ip(), app.ip(), 17, &[0; 4]), "from_listener.unreadable_dropped"),
    ];
    for (packet, exit) in replies {
        assert_eq!(programs.run("from_listener", &packet).0, exit);
    }
}

#[test]
fn a_vip_becomes_its_cluster_address_with_right_checksums() {
    let mut programs = Programs::with_vips();
    for (app, cluster, vip) in families() {
        programs.knows_flow(app, vip);
        for payload in [&b""[..], b"x", b"hello", &[0xff; 700]] {
            let (exit, frame) = programs.run("from_app", &tcp(app, vip, ACK, &[1; 12], payload));
            assert_eq!(exit, "from_app.tcp_vip_crossed");
            assert_eq!(frame[14 + ETHERNET..], tcp(app, cluster, ACK, &[1; 12], payload));
            let (exit, frame) = programs.run("from_app", &udp(app, vip, payload));
            assert_eq!(exit, "from_app.udp_vip_crossed");
            assert!(checksums_are_right(&frame[14 + ETHERNET..]), "{frame:02x?}");
            assert_eq!(frame[14 + ETHERNET..], udp(app, cluster, payload));
        }
        let (exit, frame) = programs.run("from_daemon", &tcp(app, vip, SYN, &[2, 4, 5, 180], &[]));
        assert_eq!(exit, "from_daemon.syn_vip_crossed");
        assert_eq!(frame[14 + ETHERNET..], tcp(app, cluster, SYN, &[2, 4, 5, 180], &[]));
        // What is no VIP stays as it is.
        let (exit, frame) = programs.run("from_app", &tcp(app, cluster, ACK, &[], b"x"));
        assert_eq!(exit, "from_app.tcp_crossed");
        assert_eq!(frame[14 + ETHERNET..], tcp(app, cluster, ACK, &[], b"x"));
    }
}

#[test]
fn an_answer_gets_its_vip_back_with_right_checksums() {
    let mut programs = Programs::with_vips();
    for (app, cluster, vip) in families() {
        for proto in [6, 17] {
            programs.knows_vip_flow(app, cluster, proto, &vip.ip().to_string());
        }
        let (exit, frame) = programs.run("from_listener", &tcp(cluster, app, ACK, &[1; 12], b"answer"));
        assert_eq!(exit, "from_listener.tcp_vip");
        assert_eq!(frame[ETHERNET..], tcp(vip, app, ACK, &[1; 12], b"answer"));
        let (exit, frame) = programs.run("from_listener", &udp(cluster, app, b"odd"));
        assert_eq!(exit, "from_listener.udp_vip");
        assert_eq!(frame[ETHERNET..], udp(vip, app, b"odd"));
        // Another flow of the same address is none of the VIP's.
        let other = SocketAddr::new(app.ip(), 4001);
        assert_eq!(
            programs.run("from_listener", &tcp(cluster, other, ACK, &[], b"x")).0,
            "from_listener.tcp"
        );
    }
}

#[test]
fn a_udp_checksum_of_zero_means_none_and_stays_zero() {
    let mut programs = Programs::with_vips();
    let (app, cluster, vip) = families()[0];
    programs.knows_flow(app, vip);
    let mut packet = udp(app, vip, b"hello");
    packet[26..28].fill(0);
    let (exit, frame) = programs.run("from_app", &packet);
    assert_eq!(exit, "from_app.udp_vip_crossed");
    let mut expected = udp(app, cluster, b"hello");
    expected[26..28].fill(0);
    assert_eq!(frame[14 + ETHERNET..], expected);
}

#[test]
fn fragments_keep_their_vip_both_ways() {
    let mut programs = Programs::with_vips();
    let (app, cluster, vip) = families()[0];
    programs.knows_vip_flow(app, cluster, 17, VIP_V4);
    let whole = |from, to| udp(from, to, &[7; 64]);
    let later = |from, to| as_fragment(whole(from, to), 64, false);
    let (exit, frame) = programs.run("from_app", &later(app, vip));
    assert_eq!(exit, "from_app.fragment_vip_crossed");
    // Only the address and the header's checksum change: what looks like a UDP header is data.
    assert_eq!(frame[14 + ETHERNET..][20..], later(app, vip)[20..]);
    assert_eq!(frame[14 + ETHERNET..][..20], later(app, cluster)[..20]);

    assert_eq!(
        programs.run("from_listener", &later(cluster, app)).0,
        "from_listener.fragment",
        "no head seen"
    );
    let head = as_fragment(whole(cluster, app), 0, true);
    assert_eq!(programs.run("from_listener", &head).0, "from_listener.udp_vip");
    let (exit, frame) = programs.run("from_listener", &later(cluster, app));
    assert_eq!(exit, "from_listener.fragment_vip");
    assert_eq!(frame[ETHERNET..][..20], later(vip, app)[..20]);
}

#[test]
fn the_guard_turns_a_syn_into_the_rst_that_refuses_it() {
    let programs = Programs::with_block();
    for (app, cluster, _) in families() {
        let options = [2, 4, 5, 180, 1, 1, 4, 2, 1, 3, 3, 7];
        assert_eq!(programs.run("from_app", &tcp(app, cluster, SYN, &options, &[])).0, "from_app.syn_held");
        let second = SocketAddr::new(app.ip(), 4001);
        for options in [&[][..], &options, &[1; 40]] {
            let (exit, frame) = programs.run("from_app", &tcp(second, cluster, SYN, options, &[]));
            assert_eq!(exit, "from_app.recursion_refused");
            let rst = &frame[ETHERNET..];
            assert!(checksums_are_right(rst), "{rst:02x?}");
            // Acknowledges the SYN (sequence number 99), from where it went to where it came from.
            let mut expected = tcp(cluster, second, 0x14, &[], &[]);
            let transport = if app.is_ipv4() { 20 } else { 40 };
            assert_eq!(rst[transport..transport + 4], expected[transport..transport + 4], "ports");
            assert_eq!(rst[transport + 4..transport + 14], [0, 0, 0, 0, 0, 0, 0, 100, 0x50, 0x14]);
            assert_eq!(rst[transport - 8..transport], expected.split_off(transport - 8)[..8], "addresses");
        }
        let with_data = tcp(second, cluster, SYN, &[], b"early");
        let (exit, frame) = programs.run("from_app", &with_data);
        assert_eq!(exit, "from_app.recursion_to_daemon");
        assert_eq!(
            frame[ETHERNET + if app.is_ipv4() { 8 } else { 7 }],
            0,
            "asks the daemon by the hop limit"
        );
    }
}
