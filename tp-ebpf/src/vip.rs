//! VIP to cluster address on the way in, cluster address to VIP on the way back.
//!
//! Checksums are changed by the difference, which the helpers get right for complete checksums (the field and a
//! device's sum) and for partial ones (the pseudo header's sum in the field) alike. A UDP checksum of zero means
//! "none" and stays zero.

use aya_ebpf::bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR};
use aya_ebpf::helpers::generated::bpf_csum_diff;
use aya_ebpf::programs::TcContext;
use tp_common::vip::{FragmentKey, NatKey};
use tp_common::{Addr, TCP, UDP};

use crate::maps::{FRAGMENTS, NAT, VIP_COUNT, VIPS};
use crate::parse::{Packet, Part};

/// The packet is shorter than its headers say.
pub struct Unwritable;

/// Whether the destination was a VIP; it is the cluster address then.
#[inline(always)]
pub fn to_cluster(ctx: &TcContext, packet: &Packet) -> Result<bool, Unwritable> {
    if none() {
        return Ok(false);
    }
    // SAFETY: copied at once; the daemon writes whole values.
    let Some(&cluster) = (unsafe { VIPS.get(&packet.dest) }) else { return Ok(false) };
    rewrite(ctx, packet, Field::Dest, cluster)?;
    Ok(true)
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
    let key = NatKey {
        app: packet.dest,
        cluster: packet.source,
        app_port: packet.dest_port,
        cluster_port: packet.source_port,
        proto: packet.proto,
        zero: [0; 3],
    };
    // SAFETY: copied at once; the daemon writes whole values.
    let vip = unsafe { NAT.get(&key) }.copied()?;
    if packet.part == Part::First {
        // A full LRU map makes room; a datagram whose entry is lost is lost, as any fragment may be.
        let _ = FRAGMENTS.insert(&fragment, &vip, 0);
    }
    Some(vip)
}

/// Gives a reply its VIP as source.
#[inline(always)]
pub fn as_vip(ctx: &TcContext, packet: &Packet, vip: Addr) -> Result<(), Unwritable> {
    rewrite(ctx, packet, Field::Source, vip)
}

#[inline(always)]
fn none() -> bool {
    VIP_COUNT.get(0).is_none_or(|count| *count == 0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Source,
    Dest,
}

#[inline(always)]
fn rewrite(ctx: &TcContext, packet: &Packet, field: Field, new: Addr) -> Result<(), Unwritable> {
    let old = if field == Field::Source { packet.source } else { packet.dest };
    transport_checksum(ctx, packet, old, new)?;
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

/// The pseudo header holds both addresses. Later fragments have no transport header.
#[inline(always)]
fn transport_checksum(ctx: &TcContext, packet: &Packet, old: Addr, new: Addr) -> Result<(), Unwritable> {
    if packet.part == Part::Later {
        return Ok(());
    }
    let pseudo = u64::from(BPF_F_PSEUDO_HDR);
    let (at, flags) = match packet.proto {
        TCP => (packet.l4 + 16, pseudo),
        UDP => (packet.l4 + 6, pseudo | u64::from(BPF_F_MARK_MANGLED_0)),
        _ => return Ok(()),
    };
    let replaced = if packet.v6 {
        let (mut from, mut to) = (old.0, new.0);
        // SAFETY: both buffers hold 16 bytes.
        let difference = unsafe { bpf_csum_diff(from.as_mut_ptr(), 16, to.as_mut_ptr(), 16, 0) };
        ctx.l4_csum_replace(at, 0, difference as u64, flags)
    } else {
        ctx.l4_csum_replace(at, u64::from(old.0[3]), u64::from(new.0[3]), flags | 4)
    };
    replaced.map_err(|_| Unwritable)
}
