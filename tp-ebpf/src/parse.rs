//! An IP packet's headers, as far as the programs need them.
//!
//! Everything is read with `bpf_skb_load_bytes`: it copes with variable offsets (IP options, IPv6 extension
//! headers) and with data that is not linear, and costs a few nanoseconds per call.

use aya_ebpf::programs::TcContext;
use tp_common::{Addr, ICMP, ICMPV6, TCP, UDP};

/// Too short, or headers that make no sense.
pub struct Unreadable;

pub struct Packet {
    pub l3: usize,
    pub l4: usize,
    pub v6: bool,
    pub proto: u8,
    pub part: Part,
    /// Of a datagram in parts; not inside [`Part`], since the verifier minds a value that is sometimes undefined.
    pub id: u32,
    pub source: Addr,
    pub dest: Addr,
    /// Ports in host order (0 without any), for ICMP the type in `source_port`.
    pub source_port: u16,
    pub dest_port: u16,
    pub tcp_flags: u8,
}

/// Which part of its datagram a packet holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// The first fragment: has the ports.
    First,
    Later,
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

impl Packet {
    #[inline(always)]
    pub fn opens_connection(&self) -> bool {
        self.proto == TCP && self.tcp_flags & (SYN | ACK) == SYN
    }

    /// The addresses and ports of what would answer this packet.
    #[inline(always)]
    pub fn answer(&self) -> Self {
        Self {
            source: self.dest,
            dest: self.source,
            source_port: self.dest_port,
            dest_port: self.source_port,
            ..*self
        }
    }

    /// ICMP errors quote a packet of the receiver: destination unreachable, too big, time exceeded, parameters.
    #[inline(always)]
    pub fn is_icmp_error(&self) -> bool {
        let kind = self.source_port;
        match self.proto {
            ICMP => kind == 3 || kind == 11 || kind == 12,
            ICMPV6 => kind < 128,
            _ => false,
        }
    }
}

/// Parses the packet that starts `l3` bytes into the skb.
#[inline(always)]
pub fn packet(ctx: &TcContext, l3: usize) -> Result<Packet, Unreadable> {
    // SAFETY: the context is valid while the program runs.
    let protocol = u16::from_be(unsafe { (*ctx.skb.skb).protocol } as u16);
    let mut packet = match protocol {
        0x0800 => v4(ctx, l3)?,
        0x86dd => v6(ctx, l3)?,
        _ => return Err(Unreadable),
    };
    if packet.part != Part::Later {
        transport(ctx, &mut packet)?;
    }
    Ok(packet)
}

/// The packet that an ICMP error quotes; errors quote its IP header and at least 8 bytes behind it.
#[inline(always)]
pub fn quoted(ctx: &TcContext, error: &Packet) -> Result<Packet, Unreadable> {
    let l3 = error.l4 + ICMP_HEADER;
    let mut packet = if error.v6 { v6(ctx, l3)? } else { v4(ctx, l3)? };
    if packet.part != Part::Later && matches!(packet.proto, TCP | UDP) {
        let ports: [u16; 2] = ctx.load(packet.l4).map_err(|_| Unreadable)?;
        packet.source_port = u16::from_be(ports[0]);
        packet.dest_port = u16::from_be(ports[1]);
    }
    Ok(packet)
}

const ICMP_HEADER: usize = 8;

#[repr(C)]
struct V4 {
    version_ihl: u8,
    tos: u8,
    len: u16,
    id: u16,
    fragment: u16,
    ttl: u8,
    proto: u8,
    checksum: u16,
    source: u32,
    dest: u32,
}

#[inline(always)]
fn v4(ctx: &TcContext, l3: usize) -> Result<Packet, Unreadable> {
    let header: V4 = ctx.load(l3).map_err(|_| Unreadable)?;
    let ihl = usize::from(header.version_ihl & 0xf) * 4;
    if header.version_ihl >> 4 != 4 || ihl < 20 {
        return Err(Unreadable);
    }
    let fragment = u16::from_be(header.fragment);
    Ok(Packet {
        l3,
        l4: l3 + ihl,
        v6: false,
        proto: header.proto,
        part: part(fragment & 0x1fff, fragment & 0x2000 != 0),
        id: u32::from(header.id),
        source: Addr::v4(header.source),
        dest: Addr::v4(header.dest),
        source_port: 0,
        dest_port: 0,
        tcp_flags: 0,
    })
}

#[repr(C)]
struct V6 {
    version_class: u32,
    len: u16,
    next: u8,
    hops: u8,
    source: [u32; 4],
    dest: [u32; 4],
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// More than any honest packet has: hop-by-hop (of a jumbogram), destination, routing, fragment, destination.
const MAX_EXTENSIONS: usize = 5;

#[inline(always)]
fn v6(ctx: &TcContext, l3: usize) -> Result<Packet, Unreadable> {
    let header: V6 = ctx.load(l3).map_err(|_| Unreadable)?;
    let (mut next, mut at, mut found, mut id) = (header.next, l3 + 40, Part::Whole, 0);
    for _ in 0..MAX_EXTENSIONS {
        match next {
            HOP_BY_HOP | ROUTING | DESTINATION => {
                let extension: [u8; 2] = ctx.load(at).map_err(|_| Unreadable)?;
                next = extension[0];
                at += usize::from(extension[1]) * 8 + 8;
            }
            FRAGMENT => {
                let extension: [u16; 4] = ctx.load(at).map_err(|_| Unreadable)?;
                let offset = u16::from_be(extension[1]);
                id = u32::from(extension[2]) | u32::from(extension[3]) << 16;
                found = part(offset & 0xfff8, offset & 1 != 0);
                next = extension[0].to_ne_bytes()[0];
                at += 8;
                if found == Part::Later {
                    break;
                }
            }
            _ => break,
        }
    }
    Ok(Packet {
        l3,
        l4: at,
        v6: true,
        proto: next,
        part: found,
        id,
        source: Addr(header.source),
        dest: Addr(header.dest),
        source_port: 0,
        dest_port: 0,
        tcp_flags: 0,
    })
}

#[inline(always)]
fn part(offset: u16, more: bool) -> Part {
    match (offset, more) {
        (0, false) => Part::Whole,
        (0, true) => Part::First,
        _ => Part::Later,
    }
}

#[inline(always)]
fn transport(ctx: &TcContext, packet: &mut Packet) -> Result<(), Unreadable> {
    match packet.proto {
        TCP => {
            let header: [u16; 7] = ctx.load(packet.l4).map_err(|_| Unreadable)?;
            packet.source_port = u16::from_be(header[0]);
            packet.dest_port = u16::from_be(header[1]);
            packet.tcp_flags = header[6].to_ne_bytes()[1];
        }
        UDP => {
            let ports: [u16; 4] = ctx.load(packet.l4).map_err(|_| Unreadable)?;
            packet.source_port = u16::from_be(ports[0]);
            packet.dest_port = u16::from_be(ports[1]);
        }
        ICMP | ICMPV6 => {
            let kind: [u8; 2] = ctx.load(packet.l4).map_err(|_| Unreadable)?;
            packet.source_port = u16::from(kind[0]);
        }
        _ => {}
    }
    Ok(())
}
