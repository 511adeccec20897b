//! ICMP errors about a flow through a VIP: the packet they quote is known under the other name on the other side.
//!
//! Path MTU and "port unreachable" depend on it: a kernel finds the socket that an error is for by what it quotes.

use aya_ebpf::programs::TcContext;
use tp_common::{Addr, TCP, UDP};

use crate::parse::{self, Packet, Part};
use crate::vip::{self, Field, Unwritable};

/// An error of the app's side about what came from a VIP: from here on about what came from the address inside. Whether
/// there was a VIP.
#[inline(always)]
pub fn to_cluster(ctx: &TcContext, error: &Packet) -> Result<bool, Unwritable> {
    let Some(cluster) = vip::stands_for(error) else { return Ok(false) };
    // Too short a quote is of no use to anybody, and does no harm.
    let Ok(quoted) = parse::quoted(ctx, error) else { return Ok(false) };
    if quoted.source != error.dest {
        return Ok(false);
    }
    quote(ctx, error, &quoted, Field::Source, cluster)?;
    vip::rewrite(ctx, error, Field::Dest, cluster)?;
    Ok(true)
}

/// An error of the private namespace about what an app sent to a VIP.
#[inline(always)]
pub fn to_app(ctx: &TcContext, error: &Packet) -> Result<bool, Unwritable> {
    if vip::none() {
        return Ok(false);
    }
    let Ok(quoted) = parse::quoted(ctx, error) else { return Ok(false) };
    // Found as its answer would be.
    let Some(vip) = vip::of_flow(&quoted.answer()) else { return Ok(false) };
    quote(ctx, error, &quoted, Field::Dest, vip)?;
    // It comes from the very host that the app wrote to, as far as the app is concerned, or from one on the way.
    if error.source == quoted.dest {
        vip::rewrite(ctx, error, Field::Source, vip)?;
    }
    Ok(true)
}

/// Changes an address in the quoted header, and every checksum that covers it.
#[inline(always)]
fn quote(
    ctx: &TcContext,
    error: &Packet,
    quoted: &Packet,
    field: Field,
    new: Addr,
) -> Result<(), Unwritable> {
    let old = field.of(quoted);
    quoted_checksum(ctx, error, quoted, old, new)?;
    if error.v6 {
        // IPv4's header checksum makes up for the address; IPv6 has none.
        let difference = vip::difference(true, old, new, 0);
        ctx.l4_csum_replace(error.l4 + ICMP_CHECKSUM, 0, difference, 0).map_err(|_| Unwritable)?;
    }
    vip::address(ctx, quoted, field, old, new)
}

/// The transport checksum in the quote, if the quote reaches that far; the ICMP checksum covers it.
#[inline(always)]
fn quoted_checksum(
    ctx: &TcContext,
    error: &Packet,
    quoted: &Packet,
    old: Addr,
    new: Addr,
) -> Result<(), Unwritable> {
    let at = match (quoted.proto, quoted.part) {
        (_, Part::Later) => return Ok(()),
        (TCP, _) => quoted.l4 + 16,
        (UDP, _) => quoted.l4 + 6,
        _ => return Ok(()),
    };
    let Ok(before) = ctx.load::<u16>(at) else { return Ok(()) };
    if before == 0 && quoted.proto == UDP {
        return Ok(());
    }
    let after = !fold(vip::difference(error.v6, old, new, u32::from(!before)));
    let after = if after == 0 && quoted.proto == UDP { 0xffff } else { after };
    ctx.store(at, &after, 0).map_err(|_| Unwritable)?;
    ctx.l4_csum_replace(error.l4 + ICMP_CHECKSUM, u64::from(before), u64::from(after), 2)
        .map_err(|_| Unwritable)
}

const ICMP_CHECKSUM: usize = 2;

#[inline(always)]
fn fold(sum: u64) -> u16 {
    let sum = sum as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
