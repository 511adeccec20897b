//! VIP to cluster address on the way in, cluster address to VIP on the way back.
//!
//! Checksums are changed by the difference, which the helpers get right for complete checksums (the field and a
//! device's sum) and for partial ones (the pseudo header's sum in the field) alike. A UDP checksum of zero means
//! "none" and stays zero.

use aya_ebpf::bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR};
use aya_ebpf::helpers::generated::bpf_csum_diff;
use aya_ebpf::programs::TcContext;
use tp_common::vip::{FragmentKey, NatKey};
use tp_common::{Addr, ICMPV6, TCP, UDP};

use crate::maps::{FRAGMENTS, NAT, VIP_COUNT, VIPS};
use crate::parse::{Packet, Part};

/// The packet is shorter than its headers say.
pub struct Unwritable;

/// Whether the destination was a VIP; it is the cluster address then.
#[inline(always)]
pub fn to_cluster(ctx: &TcContext, packet: &Packet) -> Result<bool, Unwritable> {
    let Some(cluster) = stands_for(packet) else { return Ok(false) };
    rewrite(ctx, packet, Field::Dest, cluster)?;
    Ok(true)
}

/// What the destination stands for, if it is a VIP.
#[inline(always)]
pub fn stands_for(packet: &Packet) -> Option<Addr> {
    if none() {
        return None;
    }
    // SAFETY: copied at once; the daemon writes whole values.
    unsafe { VIPS.get(&packet.dest) }.copied()
}

/// The VIP under which the app knows the sender of a reply.
#[inline(always)]
pub fn of_reply(packet: &Packet) -> Option<Addr> {
    if none() {
        return None;
    }
    let fragment = FragmentKey { app: packet.dest, cluster: packet.source, id: packet.id };
    if packet.part == Part::Later {
        // SAFETY: copied at once.
        return unsafe { FRAGMENTS.get(&fragment) }.copied();
    }
    let vip = of_flow(packet)?;
    if packet.part == Part::First {
        // A full LRU map makes room; a datagram whose entry is lost is lost, as any fragment may be.
        let _ = FRAGMENTS.insert(&fragment, &vip, 0);
    }
    Some(vip)
}

/// The VIP of the flow that a packet from the cluster to an app belongs to.
#[inline(always)]
pub fn of_flow(packet: &Packet) -> Option<Addr> {
    let key = NatKey {
        app: packet.dest,
        cluster: packet.source,
        app_port: packet.dest_port,
        cluster_port: packet.source_port,
        proto: packet.proto,
        zero: [0; 3],
    };
    // SAFETY: copied at once; the daemon writes whole values.
    unsafe { NAT.get(&key) }.copied()
}

/// Gives a reply its VIP as source.
#[inline(always)]
pub fn as_vip(ctx: &TcContext, packet: &Packet, vip: Addr) -> Result<(), Unwritable> {
    rewrite(ctx, packet, Field::Source, vip)
}

/// No VIP is rewritten, and no packet needs to look.
#[inline(always)]
pub fn none() -> bool {
    VIP_COUNT.get(0).is_none_or(|count| *count == 0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Source,
    Dest,
}

impl Field {
    #[inline(always)]
    pub fn of(self, packet: &Packet) -> Addr {
        if self == Self::Source { packet.source } else { packet.dest }
    }
}

/// Changes an address of a packet, and every checksum that covers it.
#[inline(always)]
pub fn rewrite(ctx: &TcContext, packet: &Packet, field: Field, new: Addr) -> Result<(), Unwritable> {
    let old = field.of(packet);
    transport_checksum(ctx, packet, old, new)?;
    address(ctx, packet, field, old, new)
}

/// The address itself, and IPv4's header checksum.
#[inline(always)]
pub fn address(
    ctx: &TcContext,
    packet: &Packet,
    field: Field,
    old: Addr,
    new: Addr,
) -> Result<(), Unwritable> {
    let l3 = packet.l3;
    let written = if packet.v6 {
        ctx.store(l3 + if field == Field::Source { 8 } else { 24 }, &new.0, 0)
    } else {
        let (from, to) = (u64::from(old.0[3]), u64::from(new.0[3]));
        ctx.l3_csum_replace(l3 + 10, from, to, 4)
            .and_then(|()| ctx.store(l3 + if field == Field::Source { 12 } else { 16 }, &new.0[3], 0))
    };
    written.map_err(|_| Unwritable)
}

/// The pseudo header holds both addresses; ICMP has one in IPv6 only. Later fragments have no transport header.
#[inline(always)]
fn transport_checksum(ctx: &TcContext, packet: &Packet, old: Addr, new: Addr) -> Result<(), Unwritable> {
    if packet.part == Part::Later {
        return Ok(());
    }
    let pseudo = u64::from(BPF_F_PSEUDO_HDR);
    let (at, flags) = match packet.proto {
        TCP => (packet.l4 + 16, pseudo),
        UDP => (packet.l4 + 6, pseudo | u64::from(BPF_F_MARK_MANGLED_0)),
        ICMPV6 => (packet.l4 + 2, pseudo),
        _ => return Ok(()),
    };
    let replaced = if packet.v6 {
        ctx.l4_csum_replace(at, 0, difference(true, old, new, 0), flags)
    } else {
        ctx.l4_csum_replace(at, u64::from(old.0[3]), u64::from(new.0[3]), flags | 4)
    };
    replaced.map_err(|_| Unwritable)
}

/// What a change of address adds to a sum that starts with `seed`.
#[inline(always)]
pub fn difference(v6: bool, old: Addr, new: Addr, seed: u32) -> u64 {
    let (mut from, mut to) = (old.0, new.0);
    // The first 12 bytes of an IPv4 address in this form never differ.
    let (from, to, len) =
        if v6 { (from.as_mut_ptr(), to.as_mut_ptr(), 16) } else { (&raw mut from[3], &raw mut to[3], 4) };
    // SAFETY: both point to `len` bytes of their arrays.
    unsafe { bpf_csum_diff(from, len, to, len, seed) as u64 }
}
