//! Builds what the daemon answers to a held packet: RST, ICMP, ICMPv6. Pure; `None` when the packet is unreadable.

use std::net::IpAddr;

use tp_core::dial::{Answer, DialError};

use crate::dataplane::packet::{self, Kind, Layout};

/// The answer to a packet that is refused for `cause`; `None` also where silence is the answer.
pub fn refusal(packet: &[u8], cause: DialError) -> Option<Vec<u8>> {
    let unreachable = |v4, v6| unreachable(packet, v4, v6);
    match cause.answer() {
        Answer::Reset if matches!(packet::read(packet).kind, Kind::Syn { .. }) => reset(packet),
        Answer::Reset => unreachable(PORT_V4, PORT_V6),
        Answer::HostUnreachable => unreachable(HOST_V4, ADDRESS_V6),
        Answer::NetUnreachable => unreachable(NET_V4, NO_ROUTE_V6),
        Answer::Prohibited => prohibited(packet),
        Answer::Silence => None,
    }
}

/// "Administratively prohibited": what the tunnel does not carry (echo requests, other protocols) gets this.
pub fn prohibited(packet: &[u8]) -> Option<Vec<u8>> {
    unreachable(packet, PROHIBITED_V4, PROHIBITED_V6)
}

// Codes of "destination unreachable": RFC 792 and RFC 1812 for IPv4 (type 3), RFC 4443 for IPv6 (type 1).
const NET_V4: u8 = 0;
const HOST_V4: u8 = 1;
const PORT_V4: u8 = 3;
const PROHIBITED_V4: u8 = 13;
const NO_ROUTE_V6: u8 = 0;
const PROHIBITED_V6: u8 = 1;
const ADDRESS_V6: u8 = 3;
const PORT_V6: u8 = 4;

/// As much of the packet as an error may quote: 576 bytes in all for IPv4, 1280 for IPv6.
const QUOTE_V4: usize = 548;
const QUOTE_V6: usize = 1232;

const TCP: u8 = 6;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const RST_ACK: u8 = RST | ACK;

/// RST for a SYN: acknowledges it, so that the app's kernel believes it.
fn reset(packet: &[u8]) -> Option<Vec<u8>> {
    let layout = packet::layout(packet)?;
    let syn = packet.get(layout.transport..layout.transport + 14)?;
    let sequence = packet::be32(syn, 4)?;
    let mut tcp = Vec::with_capacity(20);
    tcp.extend_from_slice(&syn[2..4]);
    tcp.extend_from_slice(&syn[0..2]);
    tcp.extend_from_slice(&[0; 4]);
    tcp.extend_from_slice(&sequence.wrapping_add(1).to_be_bytes());
    tcp.extend_from_slice(&[5 << 4, RST_ACK, 0, 0, 0, 0, 0, 0]);
    Some(answer(&layout, TCP, tcp, 16))
}

/// RST for a packet of a connection that nobody knows (RFC 9293, 3.5.2); `None` for one that is a reset itself.
pub(crate) fn reset_of_unknown(packet: &[u8]) -> Option<Vec<u8>> {
    let layout = packet::layout(packet)?;
    let asked = packet.get(layout.transport..)?;
    let flags = *asked.get(13)?;
    if flags & RST != 0 {
        return None;
    }
    let mut tcp = [asked.get(2..4)?, asked.get(0..2)?].concat();
    if flags & ACK != 0 {
        tcp.extend_from_slice(asked.get(8..12)?);
        tcp.extend_from_slice(&[0, 0, 0, 0, 5 << 4, RST]);
    } else {
        let header = usize::from(asked.get(12)? >> 4) * 4;
        let occupied = asked.len().saturating_sub(header)
            + usize::from(flags & SYN != 0)
            + usize::from(flags & FIN != 0);
        let next = packet::be32(asked, 4)?.wrapping_add(u32::try_from(occupied).ok()?);
        tcp.extend_from_slice(&[0; 4]);
        tcp.extend_from_slice(&next.to_be_bytes());
        tcp.extend_from_slice(&[5 << 4, RST_ACK]);
    }
    tcp.extend_from_slice(&[0; 6]);
    Some(answer(&layout, TCP, tcp, 16))
}

fn unreachable(packet: &[u8], code_v4: u8, code_v6: u8) -> Option<Vec<u8>> {
    let layout = packet::layout(packet)?;
    let (proto, kind, code, quote) = match layout.source {
        IpAddr::V4(_) => (packet::ICMP, 3, code_v4, QUOTE_V4),
        IpAddr::V6(_) => (packet::ICMPV6, 1, code_v6, QUOTE_V6),
    };
    let mut icmp = vec![kind, code, 0, 0, 0, 0, 0, 0];
    icmp.extend(packet.iter().take(quote));
    Some(answer(&layout, proto, icmp, 2))
}

/// The IP header for an answer, and the transport checksum at `checksum_at`.
fn answer(asked: &Layout, proto: u8, mut transport: Vec<u8>, checksum_at: usize) -> Vec<u8> {
    let (from, to) = (asked.dest, asked.source);
    let len = u16::try_from(transport.len()).unwrap_or(u16::MAX); // quotes are cut to far less
    let mut ip = Vec::with_capacity(40 + transport.len());
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            ip.extend_from_slice(&[0x45, 0]);
            ip.extend_from_slice(&(len + 20).to_be_bytes());
            ip.extend_from_slice(&[0, 0, 0, 0, HOP_LIMIT, proto, 0, 0]);
            ip.extend_from_slice(&from.octets());
            ip.extend_from_slice(&to.octets());
            let header_sum = checksum([&ip]);
            ip[10..12].copy_from_slice(&header_sum.to_be_bytes());
        }
        (from, to) => {
            ip.extend_from_slice(&[0x60, 0, 0, 0]);
            ip.extend_from_slice(&len.to_be_bytes());
            ip.extend_from_slice(&[proto, HOP_LIMIT]);
            ip.extend_from_slice(&tp_core::addr::mapped(from).octets());
            ip.extend_from_slice(&tp_core::addr::mapped(to).octets());
        }
    }
    // The pseudo header; ICMP for IPv4 has none. The two addresses are the last bytes of either header.
    let pseudo = match from {
        IpAddr::V4(_) if proto == packet::ICMP => Vec::new(),
        IpAddr::V4(_) => [&ip[12..20], &[0, proto], &len.to_be_bytes()].concat(),
        IpAddr::V6(_) => [&ip[8..40], &[0, 0], &len.to_be_bytes(), &[0, 0, 0, proto]].concat(),
    };
    let sum = checksum([&pseudo, &transport]);
    transport[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
    ip.extend_from_slice(&transport);
    ip
}

const HOP_LIMIT: u8 = 64;

/// The Internet checksum over the parts one after the other; every part but the last has an even length.
pub(crate) fn checksum<'a>(parts: impl IntoIterator<Item = &'a Vec<u8>>) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SYN from 10.0.0.1:4096 to 10.96.0.5:80 and the same in IPv6, sequence number 0xffff_ffff.
    fn syns() -> [Vec<u8>; 2] {
        let segment = [0x10, 0, 0, 80, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];
        let v4 =
            [&[0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 96, 0, 5], &segment[..]].concat();
        let mut v6 = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
        v6.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        v6.extend([0xfd, 0x96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
        v6.extend(segment);
        [v4, v6]
    }

    /// The sum over a right header, or a right transport with its pseudo header, is zero.
    fn transport_sum(packet: &[u8]) -> u16 {
        let (pseudo, at, proto) = match packet[0] >> 4 {
            4 => (packet[12..20].to_vec(), 20, packet[9]),
            _ => (packet[8..40].to_vec(), 40, packet[6]),
        };
        let transport = packet[at..].to_vec();
        let length = u16::try_from(transport.len()).unwrap().to_be_bytes();
        let pseudo =
            if proto == packet::ICMP { vec![] } else { [&pseudo[..], &[0, proto], &length].concat() };
        checksum([&pseudo, &transport])
    }

    #[test]
    fn a_refused_syn_is_answered_with_a_reset_that_acknowledges_it() {
        for syn in syns() {
            let rst = refusal(&syn, DialError::Refused).unwrap();
            let at = rst.len() - 20;
            assert_eq!(rst[at..at + 4], [0, 80, 0x10, 0], "ports swapped");
            assert_eq!(rst[at + 8..at + 12], [0; 4], "sequence number + 1, wrapped");
            assert_eq!(rst[at + 13], RST_ACK);
            assert_eq!(transport_sum(&rst), 0);
            let addresses = if at == 20 { 12..20 } else { 8..40 };
            let half = addresses.len() / 2;
            assert_eq!(rst[addresses.clone()][..half], syn[addresses.clone()][half..]);
            assert_eq!(rst[addresses.clone()][half..], syn[addresses][..half]);
        }
    }

    #[test]
    fn a_packet_of_no_connection_is_answered_with_the_reset_it_believes() {
        for syn in syns() {
            let at = syn.len() - 20;
            let rst = reset_of_unknown(&syn).unwrap();
            assert_eq!(
                (rst[at + 13], &rst[at + 4..at + 12]),
                (RST_ACK, &[0; 8][..]),
                "as a refused SYN, wrapped"
            );
            assert_eq!(transport_sum(&rst), 0);
            let mut acknowledged = syn.clone();
            acknowledged[at + 13] = ACK | FIN;
            acknowledged[at + 8..at + 12].copy_from_slice(&[1, 2, 3, 4]);
            let rst = reset_of_unknown(&acknowledged).unwrap();
            assert_eq!((rst[at + 13], &rst[at + 4..at + 8]), (RST, &[1, 2, 3, 4][..]));
            assert_eq!(transport_sum(&rst), 0);
            acknowledged[at + 13] = RST | ACK;
            assert_eq!(reset_of_unknown(&acknowledged), None);
        }
    }

    #[test]
    fn every_cause_has_its_code_and_quotes_the_packet() {
        let codes = [
            (DialError::HostUnreachable, (3, 1), (1, 3)),
            (DialError::NetUnreachable, (3, 0), (1, 0)),
            (DialError::Denied, (3, 13), (1, 1)),
            (DialError::Other, (3, 1), (1, 3)),
        ];
        let [syn4, syn6] = syns();
        for (cause, v4, v6) in codes {
            for (syn, header, code) in [(&syn4, 20, v4), (&syn6, 40, v6)] {
                let answer = refusal(syn, cause).unwrap();
                assert_eq!((answer[header], answer[header + 1]), code, "{cause}");
                assert_eq!(answer[header + 8..], syn[..]);
                assert_eq!(transport_sum(&answer), 0);
                if header == 20 {
                    assert_eq!(checksum([&answer[..20].to_vec()]), 0);
                }
            }
        }
        assert_eq!(refusal(&syn4, DialError::TimedOut), None, "silence, as in the cluster");
    }

    #[test]
    fn a_refused_datagram_is_answered_with_port_unreachable() {
        let mut datagram = syns()[0].clone();
        datagram[9] = 17;
        let answer = refusal(&datagram, DialError::Refused).unwrap();
        assert_eq!(answer[20..22], [3, 3]);
    }

    #[test]
    fn a_quote_is_cut_to_what_an_error_may_carry() {
        for (syn, longest) in syns().into_iter().zip([576, 1280]) {
            let long = [&syn[..], &[0; 3000]].concat();
            assert_eq!(prohibited(&long).unwrap().len(), longest);
        }
    }
}
