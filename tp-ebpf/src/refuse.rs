//! Turns the SYN in hand into the RST that refuses it.

use aya_ebpf::bindings::BPF_F_PSEUDO_HDR;
use aya_ebpf::helpers::generated::{bpf_csum_diff, bpf_skb_change_tail};
use aya_ebpf::programs::TcContext;

use crate::parse::Packet;

/// No plain SYN, or the kernel would not change it.
pub struct NotHere;

const TCP_HEADER: usize = 20;
const TCP_HEADER_MAX: usize = 60;
/// Header of five words, RST|ACK, window 0.
const RST_ACK: u32 = 0x5014_0000;

/// Rewrites the SYN; the caller sends it back to where it came from. The checksum is changed by difference in two
/// steps (header, then the length in the pseudo header), which is right for complete and partial checksums alike.
#[inline(always)]
pub fn reset(ctx: &TcContext, packet: &Packet) -> Result<(), NotHere> {
    if !packet.opens_connection() {
        return Err(NotHere);
    }
    let old_len = ctx.len() as usize - packet.l4;
    let mut old = [0u32; TCP_HEADER_MAX / 4];
    load_header(ctx, packet.l4, old_len, &mut old)?;
    let mut new: [u32; TCP_HEADER / 4] = [
        old[0].rotate_left(16), // ports swapped
        0,
        u32::from_be(old[1]).wrapping_add(1).to_be(),
        RST_ACK.to_be(),
        old[4], // the checksum, corrected below
    ];
    // SAFETY: both buffers are as long as said; sizes are multiples of 4.
    let difference = unsafe {
        bpf_csum_diff(old.as_mut_ptr(), TCP_HEADER_MAX as u32, new.as_mut_ptr(), TCP_HEADER as u32, 0)
    };
    // SAFETY: a valid context; the helper checks the length.
    if unsafe { bpf_skb_change_tail(ctx.skb.skb, (packet.l4 + TCP_HEADER) as u32, 0) } != 0 {
        return Err(NotHere);
    }
    rewrite(ctx, packet, old_len, &new, difference as u64).map_err(|_| NotHere)
}

/// Marks what cannot be answered here for the daemon: a hop limit of 0 never leaves a machine otherwise.
#[inline(always)]
pub fn ask_daemon(ctx: &TcContext, packet: &Packet) {
    let at = packet.l3 + if packet.v6 { 7 } else { 8 };
    // The header is known to be there; should the write fail all the same, the flow is held like any other.
    let _ = ctx.store(at, &0u8, 0);
}

/// The whole TCP header into a buffer of zeros, so that the sum over all of the buffer is the header's. Word by word:
/// the lower bound of a variable length is lost on its way through the compiler to the verifier.
#[inline(always)]
fn load_header(
    ctx: &TcContext,
    l4: usize,
    len: usize,
    to: &mut [u32; TCP_HEADER_MAX / 4],
) -> Result<(), NotHere> {
    let offset: [u8; 2] = ctx.load(l4 + 12).map_err(|_| NotHere)?;
    if usize::from(offset[0] >> 4) * 4 != len || len < TCP_HEADER {
        return Err(NotHere); // a SYN with data (TCP fast open)
    }
    for (word, value) in to.iter_mut().enumerate() {
        if word * 4 < len {
            *value = ctx.load(l4 + word * 4).map_err(|_| NotHere)?;
        }
    }
    Ok(())
}

#[inline(always)]
fn rewrite(
    ctx: &TcContext,
    packet: &Packet,
    old_len: usize,
    header: &[u32; TCP_HEADER / 4],
    difference: u64,
) -> Result<(), core::ffi::c_long> {
    let checksum = packet.l4 + 16;
    let be = |len: usize| (len as u16).to_be();
    ctx.store(packet.l4, header, 0)?;
    ctx.l4_csum_replace(checksum, 0, difference, 0)?;
    let pseudo = u64::from(BPF_F_PSEUDO_HDR) | 2;
    ctx.l4_csum_replace(checksum, u64::from(be(old_len)), u64::from(be(TCP_HEADER)), pseudo)?;
    let headers = packet.l4 - packet.l3;
    let l3 = packet.l3;
    // Swapping the addresses leaves every checksum as it is.
    if packet.v6 {
        ctx.store(l3 + 4, &be(headers - 40 + TCP_HEADER), 0)?;
        ctx.store(l3 + 8, &packet.dest.0, 0)?;
        ctx.store(l3 + 24, &packet.source.0, 0)
    } else {
        let (old, new) = (be(headers + old_len), be(headers + TCP_HEADER));
        ctx.l3_csum_replace(l3 + 10, u64::from(old), u64::from(new), 2)?;
        ctx.store(l3 + 2, &new, 0)?;
        ctx.store(l3 + 12, &packet.dest.0[3], 0)?;
        ctx.store(l3 + 16, &packet.source.0[3], 0)
    }
}
