//! Packets of the dataplane in user space as they are on the TUN: with offloads larger than its MTU and unfinished, without
//! them as on a wire.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tp_daemon::dataplane::Choice;

use crate::far_end::{COUNT, ECHO, GREET, GREETING};
use crate::frames::checksums_are_right;
use crate::site::{USERSPACE, USERSPACE_1500, V4, V6, at, options, site_of};
use crate::udp;

#[test]
fn without_offloads_every_packet_fits_and_has_its_checksum() {
    seen(USERSPACE_1500, |ip, packets| {
        for (to_app, packet) in &packets {
            assert!(packet.len() <= 1500, "{ip}: {} bytes", packet.len());
            assert!(is_fragment(packet) || checksums_are_right(packet), "{ip}: {to_app} {packet:02x?}");
        }
        for direction in [true, false] {
            let full = |(to_app, packet): &&(bool, Vec<u8>)| *to_app == direction && packet.len() > 1400;
            assert!(packets.iter().filter(full).count() > 30, "{ip}: the streams went in full segments");
        }
        assert!(packets.iter().any(|(to_app, packet)| *to_app && is_fragment(packet)), "{ip}");
    });
}

#[test]
fn with_offloads_streams_go_in_segments_larger_than_the_device_has() {
    seen(USERSPACE, |ip, packets| {
        let largest = |direction| {
            let of = packets.iter().filter(|(to_app, _)| *to_app == direction);
            of.map(|(_, packet)| packet.len()).max().unwrap()
        };
        assert!(largest(false) > 16_000, "{ip}: {}", largest(false));
        // smoltcp has none of IPv6
        assert!(largest(true) > if ip == V4 { 16_000 } else { 15_000 }, "{ip}: {}", largest(true));
    });
}

/// What both directions of TCP and UDP look like, and whether each packet went to the app.
fn seen(choice: Choice, check: impl Fn(&str, Vec<(bool, Vec<u8>)>) + Send + 'static) {
    site_of(choice, options(), move |_| {
        for ip in [V4, V6] {
            let mut tap = tap();
            let mut stream = TcpStream::connect(at(ip, GREET)).unwrap();
            let mut greeting = Vec::new();
            stream.read_to_end(&mut greeting).unwrap();
            assert_eq!(greeting, vec![b'g'; GREETING]);
            let mut stream = TcpStream::connect(at(ip, COUNT)).unwrap();
            stream.write_all(&[1; 100_000]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "100000");
            let socket = udp::connected(ip, ECHO);
            for len in [1, 1001, 5000] {
                udp::echoes(&socket, &vec![7; len]);
            }
            check(ip, packets(&mut tap, ip));
        }
    });
}

/// Hears every packet of this namespace.
fn tap() -> Socket {
    let everything = i32::from(0x0003_u16.to_be());
    let tap = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(everything))).unwrap();
    tap.set_recv_buffer_size(1 << 23).unwrap();
    tap.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    tap
}

/// Those with the cluster's address at either end.
fn packets(tap: &mut Socket, ip: &str) -> Vec<(bool, Vec<u8>)> {
    let octets = match at(ip, 0).ip() {
        std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (version, source) = if octets.len() == 4 { (4, 12) } else { (6, 8) };
    let (mut buf, mut found) = (vec![0; 1 << 17], Vec::new());
    while let Ok(len) = tap.read(&mut buf) {
        let packet = &buf[..len];
        let has = |from: usize| packet.get(from..from + octets.len()) == Some(&octets[..]);
        if packet.first().is_some_and(|byte| byte >> 4 == version)
            && (has(source) || has(source + octets.len()))
        {
            found.push((has(source), packet.to_vec()));
        }
    }
    found
}

fn is_fragment(packet: &[u8]) -> bool {
    if packet[0] >> 4 == 4 { packet[6] & 0x3f != 0 || packet[7] != 0 } else { packet[6] == 44 }
}
