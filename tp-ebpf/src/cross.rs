//! The step between the host's namespace and the private one.

use aya_ebpf::helpers::generated::bpf_skb_change_head;
use aya_ebpf::programs::TcContext;
use tp_common::PAIR_MAC;

/// The kernel would not make room for the header (a packet without GSO above about 16 000 bytes).
pub struct NoRoom;

/// Puts the Ethernet header of the pair before the packet. All frames carry the same two addresses.
#[inline(always)]
pub fn add_header(ctx: &TcContext, v6: bool) -> Result<(), NoRoom> {
    const M: [u8; 6] = PAIR_MAC;
    let kind: [u8; 2] = if v6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    let header: [u8; 14] =
        [M[0], M[1], M[2], M[3], M[4], M[5], M[0], M[1], M[2], M[3], M[4], M[5], kind[0], kind[1]];
    // SAFETY: a valid context; the helper checks the rest.
    if unsafe { bpf_skb_change_head(ctx.skb.skb, header.len() as u32, 0) } != 0 {
        return Err(NoRoom);
    }
    ctx.store(0, &header, 0).map_err(|_| NoRoom)
}

/// What is redirected to the TUN's ingress passes `from_daemon`, which knows it by this mark and takes it off.
/// A packet the daemon writes never has one.
const REPLY: u32 = 0x7470;

#[inline(always)]
pub fn mark_reply(ctx: &TcContext) {
    // SAFETY: a writable field of a valid context.
    unsafe { (*ctx.skb.skb).mark = REPLY };
}

/// Whether the packet came through [`mark_reply`]; if so it is as if it never had.
#[inline(always)]
pub fn take_reply_mark(ctx: &TcContext) -> bool {
    // SAFETY: a readable and writable field of a valid context.
    unsafe {
        let found = (*ctx.skb.skb).mark == REPLY;
        if found {
            (*ctx.skb.skb).mark = 0;
        }
        found
    }
}
