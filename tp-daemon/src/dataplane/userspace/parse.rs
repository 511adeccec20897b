//! What a packet of the TUN is to the userspace dataplane. Pure and total.

use std::net::IpAddr;

use tp_core::addr::{AppAddr, DestAddr};
use tp_core::flow::{Flow, Proto};

use crate::dataplane::packet::{self, Layout, be32};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Packet<'a> {
    Tcp {
        flow: Flow,
        segment: Segment,
    },
    Udp {
        flow: Flow,
        payload: &'a [u8],
    },
    /// A part of a larger datagram.
    Fragment,
    Echo,
    /// Something that we have sent was not delivered, or is too large.
    IcmpError(IcmpError),
    /// Must not be answered.
    Unanswerable,
    Unsupported,
    Unreadable,
}

/// What we need to know of a TCP packet beside its ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) opens: bool,
    pub(super) ends: bool,
    pub(super) reset: bool,
    pub(super) acknowledges: bool,
    pub(super) payload: usize,
}

/// The flow is that of the app, although the quoted packet was ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IcmpError {
    pub(super) flow: Flow,
    pub(super) about: About,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum About {
    /// Nobody listens there.
    Port,
    /// The largest packet that goes through.
    TooLarge(u32),
    Other,
}

impl Segment {
    /// Whether it has bytes that a ring of that size, which begins with `next`, has no place for. smoltcp (0.14) takes the
    /// window of its SYN for scaled, so a sender who does not care for windows would get it to fail.
    pub(super) fn ends_behind(&self, next: u32, ring: usize) -> bool {
        let (end, edge) = (self.seq.wrapping_add(size(self.payload)), next.wrapping_add(size(ring)));
        self.payload > 0 && end.wrapping_sub(edge).cast_signed() > 0
    }
}

/// Of a packet or a ring: never so large.
fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

pub(super) fn read(packet: &[u8]) -> Packet<'_> {
    let Some(layout) = packet::layout(packet) else { return Packet::Unreadable };
    if is_for_many(layout.dest) || is_for_many(layout.source) {
        return Packet::Unanswerable;
    }
    transport(packet, &layout).unwrap_or(Packet::Unreadable)
}

fn transport<'a>(packet: &'a [u8], layout: &Layout) -> Option<Packet<'a>> {
    if layout.proto == UDP && is_fragment(packet)? {
        return Some(Packet::Fragment);
    }
    if layout.later_fragment {
        return Some(Packet::Unanswerable);
    }
    let at = packet.get(layout.transport..)?;
    Some(match layout.proto {
        TCP => {
            let flags = *at.get(13)?;
            let header = usize::from(at.get(12)? >> 4) * 4;
            let segment = Segment {
                seq: be32(at, 4)?,
                ack: be32(at, 8)?,
                opens: flags & (SYN | ACK | RST | FIN) == SYN,
                ends: flags & FIN != 0,
                reset: flags & RST != 0,
                acknowledges: flags & ACK != 0,
                payload: at.len().saturating_sub(header),
            };
            Packet::Tcp { flow: flow(layout, at, Proto::Tcp)?, segment }
        }
        UDP => {
            let len = usize::from(u16::from_be_bytes(*at.get(4..6)?.first_chunk()?));
            Packet::Udp { flow: flow(layout, at, Proto::Udp)?, payload: at.get(8..len)? }
        }
        packet::ICMP => icmp(at, [8, 3], |code| match code {
            3 => Some(About::Port),
            4 => Some(About::TooLarge(u32::from(u16::from_be_bytes(*at.get(6..8)?.first_chunk()?)))),
            _ => Some(About::Other),
        })?,
        packet::ICMPV6 => match at.first()? {
            2 => icmp(at, [128, 2], |_| Some(About::TooLarge(be32(at, 4)?)))?,
            _ => icmp(at, [128, 1], |code| Some(if code == 4 { About::Port } else { About::Other }))?,
        },
        _ => Packet::Unsupported,
    })
}

fn icmp<'a>(
    at: &'a [u8],
    [echo, error]: [u8; 2],
    about: impl FnOnce(u8) -> Option<About>,
) -> Option<Packet<'a>> {
    let (kind, code) = (*at.first()?, *at.get(1)?);
    if kind == echo {
        return Some(Packet::Echo);
    }
    if kind != error {
        return Some(Packet::Unanswerable);
    }
    let Some(flow) = at.get(8..).and_then(quoted) else { return Some(Packet::Unanswerable) };
    Some(Packet::IcmpError(IcmpError { flow, about: about(code)? }))
}

/// The flow of a packet of ours that an error quotes: the other way round.
fn quoted(packet: &[u8]) -> Option<Flow> {
    let layout = packet::layout(packet).filter(|layout| !layout.later_fragment)?;
    let ports = packet.get(layout.transport..)?;
    let proto = Proto::from_number(layout.proto)?;
    let sent = flow(&layout, ports, proto)?;
    Some(Flow { app: AppAddr(sent.dest.0), dest: DestAddr(sent.app.0), proto })
}

fn flow(layout: &Layout, at: &[u8], proto: Proto) -> Option<Flow> {
    let port = |from: usize| Some(u16::from_be_bytes(*at.get(from..from + 2)?.first_chunk()?));
    let (app, dest) = (AppAddr::new(layout.source, port(0)?), DestAddr::new(layout.dest, port(2)?));
    // nobody can be told anything at port 0
    (app.port() != 0 && dest.port() != 0).then_some(Flow { app, dest, proto })
}

fn is_fragment(packet: &[u8]) -> Option<bool> {
    Some(match packet.first()? >> 4 {
        4 => u16::from_be_bytes(*packet.get(6..8)?.first_chunk()?) & 0x3fff != 0,
        // what else may stand before it is nothing that a kernel sends with UDP
        _ => *packet.get(6)? == FRAGMENT,
    })
}

pub(super) const FRAGMENT: u8 = 44;

/// Multicast, broadcast and the unset address are no ends of a flow.
fn is_for_many(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_multicast() || ip.is_unspecified(),
    }
}
