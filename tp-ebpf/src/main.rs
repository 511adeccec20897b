//! The kernel programs. One file per stretch of a packet's way; this one only turns outcomes into verdicts.
//!
//! ```text
//! app -> [from_app: tp0 egress] -> daemon (a SYN, a first datagram) -> [from_daemon: tp0 ingress] -\
//!                |                                                                                  v
//!                `------------- everything else crosses -------------------------> private namespace: [pick_listener]
//! app <------------------------ [from_listener: the pair's host end] <------------------/
//! ```

#![no_std]
#![no_main]

mod count;
mod cross;
mod dns;
mod from_app;
mod from_daemon;
mod from_listener;
mod maps;
mod parse;
mod pick_listener;
mod quote;
mod recursion;
mod refuse;
mod vip;

use aya_ebpf::bindings::{BPF_F_INGRESS, TC_ACT_OK, TC_ACT_SHOT};
use aya_ebpf::helpers::generated::bpf_redirect;
use aya_ebpf::macros::{cgroup_sock_addr, classifier, sk_lookup};
use aya_ebpf::programs::{SkLookupContext, SockAddrContext, TcContext};
use tp_common::outcome::{Outcome, Verdict};

#[classifier]
pub fn from_app(ctx: TcContext) -> i32 {
    verdict(&ctx, from_app::decide(&ctx))
}

#[classifier]
pub fn from_daemon(ctx: TcContext) -> i32 {
    verdict(&ctx, from_daemon::decide(&ctx))
}

#[classifier]
pub fn from_listener(ctx: TcContext) -> i32 {
    verdict(&ctx, from_listener::decide(&ctx))
}

#[sk_lookup]
pub fn pick_listener(ctx: SkLookupContext) -> u32 {
    count::up(pick_listener::decide(&ctx));
    1 // SK_PASS: with the socket that was assigned, or by the usual look-up
}

macro_rules! dns_hooks {
    ($($hook:ident $name:ident => $decide:path,)+) => {$(
        #[cgroup_sock_addr($hook)]
        pub fn $name(ctx: SockAddrContext) -> i32 {
            count::up($decide(ctx.sock_addr));
            1 // never forbid
        }
    )+};
}

dns_hooks! {
    connect4 dns_connect4 => dns::to_v4,
    sendmsg4 dns_sendmsg4 => dns::to_v4,
    recvmsg4 dns_recvmsg4 => dns::from_v4,
    getpeername4 dns_getpeername4 => dns::from_v4,
    connect6 dns_connect6 => dns::to_v6,
    sendmsg6 dns_sendmsg6 => dns::to_v6,
    recvmsg6 dns_recvmsg6 => dns::from_v6,
    getpeername6 dns_getpeername6 => dns::from_v6,
}

#[inline(always)]
fn verdict(ctx: &TcContext, outcome: Outcome) -> i32 {
    count::up(outcome);
    match outcome.verdict() {
        Verdict::Pass => TC_ACT_OK as i32,
        Verdict::Drop => TC_ACT_SHOT as i32,
        // SAFETY: both helpers take plain numbers; the interfaces were set by the loader.
        Verdict::Cross => unsafe { bpf_redirect(maps::PAIR_IF.load(), 0) as i32 },
        Verdict::ToApp => {
            cross::mark_reply(ctx);
            // SAFETY: as above.
            unsafe { bpf_redirect(maps::TUN_IF.load(), u64::from(BPF_F_INGRESS)) as i32 }
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
