//! Hand-made packets with right checksums, and a check that they still are.

use std::net::{IpAddr, SocketAddr};

pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

pub(crate) fn tcp(from: SocketAddr, to: SocketAddr, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut segment = ports(from, to);
    segment.extend([0, 0, 0, 99, 0, 0, 0, 0]);
    segment.push(u8::try_from(5 + options.len() / 4).unwrap() << 4);
    segment.extend([flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(options);
    segment.extend(payload);
    with_checksum(from.ip(), to.ip(), TCP, segment, 16)
}

pub(crate) fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut datagram = ports(from, to);
    datagram.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    with_checksum(from.ip(), to.ip(), UDP, datagram, 6)
}

/// Any payload in an IP header without options or extensions.
pub(crate) fn ip(from: IpAddr, to: IpAddr, proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet;
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet = vec![0x45, 0];
            packet.extend(u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
            packet.extend([0x12, 0x34, 0, 0, 64, proto, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            fix_ip_checksum(&mut packet);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet = vec![0x60, 0, 0, 0];
            packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            packet.extend([proto, 64]);
            packet.extend(from.octets());
            packet.extend(to.octets());
        }
        _ => panic!("two families in one packet"),
    }
    packet.extend(payload);
    packet
}

/// An ICMP error of either family. `rest` is what follows the checksum: an MTU, for one.
pub(crate) fn icmp_error(from: IpAddr, to: IpAddr, kind: (u8, u8), rest: [u8; 4], quote: &[u8]) -> Vec<u8> {
    let message = [&[kind.0, kind.1, 0, 0][..], &rest, quote].concat();
    if from.is_ipv6() {
        return with_checksum(from, to, ICMPV6, message, 2);
    }
    let mut message = message;
    let checksum = !sum(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    ip(from, to, ICMP, &message)
}

/// Cuts a packet of either family in two after `at` bytes (a multiple of 8) of its payload.
pub(crate) fn in_two(packet: &[u8], at: usize) -> [Vec<u8>; 2] {
    let header = if packet[0] >> 4 == 4 { usize::from(packet[0] & 0xf) * 4 } else { 40 };
    let offset = u16::try_from(at).unwrap();
    [(0, header..header + at, true), (offset, header + at..packet.len(), false)].map(
        |(offset, part, more)| {
            let mut fragment = [&packet[..header], &packet[part]].concat();
            if header < 40 {
                let length = u16::try_from(fragment.len()).unwrap();
                fragment[2..4].copy_from_slice(&length.to_be_bytes());
                as_fragment(fragment, offset, more)
            } else {
                let [high, low] = (offset | u16::from(more)).to_be_bytes();
                with_extension(fragment, 44, [0, 0, high, low, 0, 0, 0, 9])
            }
        },
    )
}

/// The packet with IPv4 options before its payload.
pub(crate) fn with_options(mut packet: Vec<u8>, options: &[u8]) -> Vec<u8> {
    packet[0] = 0x40 | u8::try_from(5 + options.len() / 4).unwrap();
    let length = u16::try_from(packet.len() + options.len()).unwrap();
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet.splice(20..20, options.iter().copied());
    fix_ip_checksum(&mut packet);
    packet
}

/// The packet as an IPv4 fragment.
pub(crate) fn as_fragment(mut packet: Vec<u8>, offset: u16, more: bool) -> Vec<u8> {
    let field = (offset / 8) | if more { 0x2000 } else { 0 };
    packet[6..8].copy_from_slice(&field.to_be_bytes());
    fix_ip_checksum(&mut packet);
    packet
}

/// The packet with an IPv6 extension header (8 bytes, its first one is filled in) before its payload.
pub(crate) fn with_extension(mut packet: Vec<u8>, kind: u8, mut extension: [u8; 8]) -> Vec<u8> {
    extension[0] = packet[6];
    packet[6] = kind;
    let length = u16::try_from(packet.len() - 40 + 8).unwrap();
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet.splice(40..40, extension);
    packet
}

/// Whether every checksum of a plain TCP or UDP packet is right.
pub(crate) fn checksums_are_right(packet: &[u8]) -> bool {
    let (pseudo, header, proto) = match packet[0] >> 4 {
        4 => {
            let header = usize::from(packet[0] & 0xf) * 4;
            assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
            if sum(&packet[..header]) != 0xffff {
                return false;
            }
            (packet[12..20].to_vec(), header, packet[9])
        }
        _ => {
            assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])) + 40, packet.len());
            (packet[8..40].to_vec(), 40, packet[6])
        }
    };
    let transport = &packet[header..];
    let length = u16::try_from(transport.len()).unwrap().to_be_bytes();
    sum(&[&pseudo[..], &[0, proto], &length, transport].concat()) == 0xffff
}

/// The packet as the kernel hands it to a device that finishes checksums: only the pseudo header's sum is in the field.
pub(crate) fn unfinished(mut packet: Vec<u8>) -> Vec<u8> {
    let (addresses, header, proto) = match packet[0] >> 4 {
        4 => (12..20, 20, packet[9]),
        _ => (8..40, 40, packet[6]),
    };
    let length = u16::try_from(packet.len() - header).unwrap().to_be_bytes();
    let pseudo = sum(&[&packet[addresses], &[0, proto], &length].concat());
    let at = header + if proto == TCP { 16 } else { 6 };
    packet[at..at + 2].copy_from_slice(&pseudo.to_be_bytes());
    packet
}

/// The packet after a router.
pub(crate) fn one_hop_on(mut packet: Vec<u8>) -> Vec<u8> {
    match packet[0] >> 4 {
        4 => {
            packet[8] -= 1;
            fix_ip_checksum(&mut packet);
        }
        _ => packet[7] -= 1,
    }
    packet
}

fn ports(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    [from.port().to_be_bytes(), to.port().to_be_bytes()].concat()
}

fn with_checksum(from: IpAddr, to: IpAddr, proto: u8, mut transport: Vec<u8>, at: usize) -> Vec<u8> {
    let octets = |ip| match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let length = u16::try_from(transport.len()).unwrap().to_be_bytes();
    let pseudo = [&octets(from)[..], &octets(to), &[0, proto], &length].concat();
    let checksum = match !sum(&[&pseudo[..], &transport].concat()) {
        0 if proto == UDP => 0xffff, // zero means none
        checksum => checksum,
    };
    transport[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    ip(from, to, proto, &transport)
}

fn fix_ip_checksum(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 0xf) * 4;
    packet[10..12].fill(0);
    let checksum = !sum(&packet[..header]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}
