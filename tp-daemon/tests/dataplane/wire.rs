//! What a rewritten packet looks like on a wire.
//!
//! Between sockets of one machine nobody computes a checksum: it stays partial (the pseudo header's sum) and the
//! receiver believes it. So here a forwarded peer sits behind a device without checksum offload, where the kernel has
//! to finish what the programs have rewritten.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use crate::far_end::ECHO;
use crate::frames::{SYN, checksums_are_right, tcp, udp};
use crate::site::{at, sh, site};
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

/// A TUN without any offload: what is read from it has been on the wire.
fn wire() -> tun::Device {
    let mut config = tun::Configuration::default();
    config.tun_name("wire0").platform_config(|platform| {
        platform.ensure_root_privileges(false);
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
