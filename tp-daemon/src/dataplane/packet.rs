//! Reads what came out of the TUN. Pure and total: any bytes give an answer, none panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tp_core::addr::{AppAddr, DestAddr};
use tp_core::flow::{Flow, Proto};

/// A packet, as far as the daemon cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    pub kind: Kind,
    /// The kernel's recursion guard wants this refused; it says so by a hop limit of 0.
    pub refuse: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Opens a connection. Retransmits have the same sequence number.
    Syn {
        flow: Flow,
        seq: u32,
    },
    Udp {
        flow: Flow,
    },
    /// An echo request.
    Echo,
    /// Must not be answered: an ICMP message that is no request, a TCP packet that opens nothing, a later fragment.
    Unanswerable,
    /// A protocol the tunnel does not carry.
    Unsupported,
    Unreadable,
}

/// Where the headers of a readable packet are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    pub source: IpAddr,
    pub dest: IpAddr,
    pub proto: u8,
    pub transport: usize,
    hop_limit: u8,
    pub later_fragment: bool,
}

pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Looks at an IP packet of either family.
pub fn read(packet: &[u8]) -> Seen {
    let Some(layout) = layout(packet) else { return Seen { kind: Kind::Unreadable, refuse: false } };
    Seen { kind: kind(packet, &layout).unwrap_or(Kind::Unreadable), refuse: layout.hop_limit == 0 }
}

fn kind(packet: &[u8], layout: &Layout) -> Option<Kind> {
    if layout.later_fragment {
        return Some(Kind::Unanswerable);
    }
    let at = layout.transport;
    let flow = |proto| -> Option<Flow> {
        Some(Flow {
            app: AppAddr::new(layout.source, be16(packet, at)?),
            dest: DestAddr::new(layout.dest, be16(packet, at + 2)?),
            proto,
        })
    };
    Some(match layout.proto {
        TCP => {
            let flags = *packet.get(at + 13)?;
            if flags & (SYN | ACK) == SYN {
                Kind::Syn { flow: flow(Proto::Tcp)?, seq: be32(packet, at + 4)? }
            } else {
                Kind::Unanswerable
            }
        }
        UDP => Kind::Udp { flow: flow(Proto::Udp)? },
        ICMP if *packet.get(at)? == 8 => Kind::Echo,
        ICMPV6 if *packet.get(at)? == 128 => Kind::Echo,
        ICMP | ICMPV6 => Kind::Unanswerable,
        _ => Kind::Unsupported,
    })
}

/// The headers of a packet, `None` if it is cut short or of no family.
pub(crate) fn layout(packet: &[u8]) -> Option<Layout> {
    match packet.first()? >> 4 {
        4 => layout_v4(packet),
        6 => layout_v6(packet),
        _ => None,
    }
}

fn layout_v4(packet: &[u8]) -> Option<Layout> {
    let transport = usize::from(packet.first()? & 0xf) * 4;
    if transport < 20 || packet.len() < transport {
        return None;
    }
    let address = |at| -> Option<IpAddr> { Some(Ipv4Addr::from(be32(packet, at)?).into()) };
    Some(Layout {
        source: address(12)?,
        dest: address(16)?,
        proto: *packet.get(9)?,
        transport,
        hop_limit: *packet.get(8)?,
        later_fragment: be16(packet, 6)? & 0x1fff != 0,
    })
}

fn layout_v6(packet: &[u8]) -> Option<Layout> {
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets).into())
    };
    let (mut proto, mut transport, mut later_fragment) = (*packet.get(6)?, 40, false);
    // Every round moves at least 8 bytes on, so the packet's end ends the loop too.
    loop {
        match proto {
            0 | 43 | 60 => {
                proto = *packet.get(transport)?;
                transport += usize::from(*packet.get(transport + 1)?) * 8 + 8;
            }
            44 => {
                proto = *packet.get(transport)?;
                later_fragment = be16(packet, transport + 2)? & 0xfff8 != 0;
                transport += 8;
                if later_fragment {
                    break;
                }
            }
            _ => break,
        }
    }
    Some(Layout {
        source: address(8)?,
        dest: address(24)?,
        proto,
        transport,
        hop_limit: *packet.get(7)?,
        later_fragment,
    })
}

fn be16(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn be32(packet: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flow(app: &str, dest: &str, proto: Proto) -> Flow {
        Flow { app: AppAddr(app.parse().unwrap()), dest: DestAddr(dest.parse().unwrap()), proto }
    }

    /// An IPv4 header for a payload.
    fn v4(proto: u8, hop_limit: u8, fragment: [u8; 2], payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, fragment[0], fragment[1], hop_limit, proto, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 96, 0, 5]);
        packet.extend(payload);
        packet
    }

    /// An IPv6 header for a payload.
    fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        packet.extend("fd00::1".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend("fd96::5".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend(payload);
        packet
    }

    const SYN_SEGMENT: [u8; 14] = [0x10, 0, 0, 80, 0, 0, 1, 0, 0, 0, 0, 0, 0x50, SYN];
    const DATAGRAM: [u8; 8] = [0x10, 0, 0, 53, 0, 8, 0, 0];

    #[test]
    fn flows_are_read_in_both_families() {
        let syn4 = flow("10.0.0.1:4096", "10.96.0.5:80", Proto::Tcp);
        let syn6 = flow("[fd00::1]:4096", "[fd96::5]:80", Proto::Tcp);
        let udp6 = flow("[fd00::1]:4096", "[fd96::5]:53", Proto::Udp);
        assert_eq!(read(&v4(6, 64, [0; 2], &SYN_SEGMENT)).kind, Kind::Syn { flow: syn4, seq: 256 });
        assert_eq!(read(&v6(6, &SYN_SEGMENT)).kind, Kind::Syn { flow: syn6, seq: 256 });
        assert_eq!(read(&v6(17, &DATAGRAM)).kind, Kind::Udp { flow: udp6 });
        // behind a hop-by-hop and a fragment header (the first fragment)
        let extended = [&[44, 0, 0, 0, 0, 0, 0, 0], &[17, 0, 0, 1, 0, 0, 0, 1], &DATAGRAM[..]].concat();
        assert_eq!(read(&v6(0, &extended)).kind, Kind::Udp { flow: udp6 });
    }

    #[test]
    fn what_must_not_be_answered_is_not() {
        let mut ack = SYN_SEGMENT;
        ack[13] = ACK;
        assert_eq!(read(&v4(6, 64, [0; 2], &ack)).kind, Kind::Unanswerable);
        assert_eq!(read(&v4(17, 64, [0, 2], &DATAGRAM)).kind, Kind::Unanswerable, "a later fragment");
        assert_eq!(read(&v4(1, 64, [0; 2], &[3, 1, 0, 0])).kind, Kind::Unanswerable, "an ICMP error");
        assert_eq!(read(&v4(1, 64, [0; 2], &[8, 0, 0, 0])).kind, Kind::Echo);
        assert_eq!(read(&v6(58, &[128, 0, 0, 0])).kind, Kind::Echo);
        assert_eq!(read(&v4(47, 64, [0; 2], &[0; 8])).kind, Kind::Unsupported);
    }

    #[test]
    fn the_kernel_asks_for_a_refusal_by_the_hop_limit() {
        assert!(read(&v4(6, 0, [0; 2], &SYN_SEGMENT)).refuse);
        assert!(!read(&v4(6, 1, [0; 2], &SYN_SEGMENT)).refuse);
    }

    #[test]
    fn fuzz_any_packet_is_read_and_answered_without_panic() {
        bolero::check!().for_each(|packet: &[u8]| {
            read(packet);
            crate::dataplane::answer::prohibited(packet);
            for cause in [tp_core::dial::DialError::Refused, tp_core::dial::DialError::Denied] {
                crate::dataplane::answer::refusal(packet, cause);
            }
        });
    }

    proptest! {
        /// The same with a header that leads further in.
        #[test]
        fn a_packet_cut_anywhere_is_read_without_panic(
            next in prop_oneof![Just(0u8), Just(6), Just(17), Just(43), Just(44), Just(58), Just(60), any::<u8>()],
            rest in proptest::collection::vec(prop_oneof![Just(0u8), Just(44), Just(60), any::<u8>()], 0..120),
            cut in 0usize..200,
        ) {
            for mut packet in [v6(next, &rest), v4(next, 64, [0; 2], &rest)] {
                packet.truncate(cut);
                read(&packet);
                for cause in [tp_core::dial::DialError::Refused, tp_core::dial::DialError::Denied] {
                    crate::dataplane::answer::refusal(&packet, cause);
                }
            }
        }
    }
}
