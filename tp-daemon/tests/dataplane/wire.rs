//! What a rewritten packet looks like on a wire.
//!
//! Between sockets of one machine nobody computes a checksum: it stays partial (the pseudo header's sum) and the
//! receiver believes it. So here a forwarded peer sits behind a device without checksum offload, where the kernel has
//! to finish what the programs have rewritten.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tp_common::PAIR_MAC;

use crate::far_end::ECHO;
use crate::frames::{ACK, SYN, checksums_are_right, one_hop_on, tcp, udp, unfinished};
use crate::site::{V4, V6, at, eventually, sh, site};
use crate::vip::{VIP_V4, VIP_V6, set_usual_vips};

const PEER_V4: &str = "172.31.0.2";
const PEER_V6: &str = "fd31::2";

#[test]
fn answers_from_a_vip_have_right_checksums_on_the_wire() {
    site(|site| {
        set_usual_vips(site);
        let mut wire = wire();
        for (peer, vip) in [(PEER_V4, VIP_V4), (PEER_V6, VIP_V6)] {
            let (peer, vip) = (at(peer, 5000), at(vip, ECHO));
            let syn_ack = exchange(&mut wire, &tcp(peer, vip, SYN, &[2, 4, 5, 0xb4], &[]), vip);
            assert!(checksums_are_right(&syn_ack), "{syn_ack:02x?}");
            let echo = exchange(&mut wire, &udp(peer, vip, b"odd number"), vip);
            assert!(checksums_are_right(&echo), "{echo:02x?}");
            assert!(echo.ends_with(b"odd number"));
        }
    });
}

/// The other way: what a device with offload brings has a checksum that nobody has finished yet.
#[test]
fn an_unfinished_checksum_becomes_that_of_the_address_inside() {
    site(|site| {
        set_usual_vips(site);
        let mut wire = wire_with_headers();
        let mut pair =
            Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(EVERYTHING)))).unwrap();
        pair.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for (peer, vip, inside) in [(PEER_V4, VIP_V4, V4), (PEER_V6, VIP_V6, V6)] {
            let (peer, vip, inside) = (at(peer, 5000), at(vip, ECHO), at(inside, ECHO));
            let syn = |to| tcp(peer, to, SYN, &[2, 4, 5, 0xb4], &[]);
            let data = |to| tcp(peer, to, ACK, &[], b"odd number");
            let datagram = |to| udp(peer, to, b"odd number");
            let answered = site.counters().get("from_listener.udp_vip");
            // Through the daemon: a SYN and a first datagram. In the kernel alone: everything after.
            for packet in [(syn(vip), syn(inside)), (datagram(vip), datagram(inside))] {
                assert_eq!(crossing(&mut wire, &mut pair, packet.0), one_hop_on(unfinished(packet.1)));
            }
            eventually("the flow is known", || site.counters().get("from_listener.udp_vip") > answered);
            for packet in [(data(vip), data(inside)), (datagram(vip), datagram(inside))] {
                assert_eq!(crossing(&mut wire, &mut pair, packet.0), one_hop_on(unfinished(packet.1)));
            }
        }
        assert!(site.counters().get("from_app.tcp_vip_crossed") >= 2);
        assert!(site.counters().get("from_app.udp_vip_crossed") >= 2);
    });
}

/// ETH_P_ALL, in network order.
const EVERYTHING: u16 = 0x0003_u16.to_be();

/// Sends a packet with an unfinished checksum, and waits for the next one that the pair carries to an address inside.
fn crossing(wire: &mut tun::Device, pair: &mut Socket, packet: Vec<u8>) -> Vec<u8> {
    let header = if packet[0] >> 4 == 4 { 20u16 } else { 40 };
    let (tcp, field) = if packet[if header == 20 { 9 } else { 6 }] == 6 { (true, 16u16) } else { (false, 6) };
    let start = header.to_le_bytes();
    let needs_checksum = [1, 0, 0, 0, 0, 0, start[0], start[1], field.to_le_bytes()[0], 0];
    wire.write_all(&[&needs_checksum[..], &unfinished(packet)].concat()).unwrap();
    let mut buf = [0; 2000];
    loop {
        let len = pair.read(&mut buf).unwrap();
        let Some(packet) = buf[..len].strip_prefix(&[PAIR_MAC, PAIR_MAC].concat()[..]) else { continue };
        let (packet, from_app) = (&packet[2..], if header == 20 { 12..16 } else { 8..24 });
        let peer = at(if header == 20 { PEER_V4 } else { PEER_V6 }, 0);
        let is_peer = match peer.ip() {
            IpAddr::V4(v4) => packet[0] >> 4 == 4 && packet[from_app] == v4.octets(),
            IpAddr::V6(v6) => packet[0] >> 4 == 6 && packet[from_app] == v6.octets(),
        };
        // Not what the peer's kernel might say on its own account.
        let flags = packet.get(usize::from(header) + 13).copied().unwrap_or(0);
        if is_peer && (!tcp || flags & 4 == 0) {
            return packet.to_vec();
        }
    }
}

fn wire_with_headers() -> tun::Device {
    open_wire(true)
}

/// A TUN without any offload: what is read from it has been on the wire.
fn wire() -> tun::Device {
    open_wire(false)
}

fn open_wire(virtio_headers: bool) -> tun::Device {
    let mut config = tun::Configuration::default();
    config.tun_name("wire0").platform_config(|platform| {
        platform.vnet_hdr(virtio_headers).ensure_root_privileges(false);
    });
    let device = tun::Device::new(&config).unwrap();
    sh(&format!(
        "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
         ip link set wire0 up; ip route add {PEER_V4}/32 dev wire0; ip -6 route add {PEER_V6}/128 dev wire0"
    ));
    device
}

/// Sends a packet and waits for one that comes from `vip`.
fn exchange(wire: &mut tun::Device, packet: &[u8], vip: SocketAddr) -> Vec<u8> {
    wire.write_all(packet).unwrap();
    let mut buf = [0; 2000];
    loop {
        let len = wire.recv_timeout(&mut buf, Duration::from_secs(10)).unwrap();
        let from_vip = match vip {
            SocketAddr::V4(v4) => buf[0] >> 4 == 4 && buf[12..16] == v4.ip().octets(),
            SocketAddr::V6(v6) => buf[0] >> 4 == 6 && buf[8..24] == v6.ip().octets(),
        };
        if from_vip {
            return buf[..len].to_vec();
        }
    }
}
