//! Socket look-up in the private namespace: whatever address a SYN is for, the one listener takes it.
//!
//! sk_lookup, not `bpf_sk_assign` at TC: it comes after the kernel has looked for a socket in TIME_WAIT, so the same
//! source port can be used again at once.

use aya_ebpf::programs::SkLookupContext;
use tp_common::outcome::Outcome;
use tp_common::{Addr, LISTENER_V4, LISTENER_V6, TCP};

use crate::maps::{DNS_V4, DNS_V6, LISTENERS};

const AF_INET6: u32 = 10;

#[inline(always)]
pub fn decide(ctx: &SkLookupContext) -> Outcome {
    let lookup = ctx.lookup;
    // SAFETY: readable fields of a valid context.
    let (v6, protocol) = unsafe { ((*lookup).family == AF_INET6, (*lookup).protocol) };
    if protocol != u32::from(TCP) {
        return Outcome::PickUdp;
    }
    let dest = if v6 {
        // SAFETY: as above; one read per word, as the kernel wants it.
        unsafe {
            let ip = &raw const (*lookup).local_ip6;
            let word = |i: usize| ip.cast::<u32>().add(i).read_volatile();
            Addr([word(0), word(1), word(2), word(3)])
        }
    } else {
        // SAFETY: as above.
        Addr::v4(unsafe { (*lookup).local_ip4 })
    };
    if dest == if v6 { DNS_V6.load() } else { DNS_V4.load() } {
        return Outcome::PickDns;
    }
    let index = if v6 { LISTENER_V6 } else { LISTENER_V4 };
    match LISTENERS.redirect_sk_lookup(ctx, index, 0) {
        Ok(()) => Outcome::PickListener,
        Err(_) => Outcome::PickNobody,
    }
}
