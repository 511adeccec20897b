//! The recursion guard: a flow that came out of the tunnel must not go into it again.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::programs::TcContext;
use tp_common::recursion::{HELD, MAX_HELD_NS, RecursionKey, RecursionValue};

use crate::maps::{BLOCK, NODE_SIDE, RECURSION};
use crate::parse::Packet;

pub enum Guard {
    Open,
    /// Forwarded from where the cluster's nodes live.
    NodeSide,
    /// Another flow to the same IP:PORT is held, or was established within the block duration.
    Repeated,
}

#[inline(always)]
pub fn guard(ctx: &TcContext, packet: &Packet) -> Guard {
    // SAFETY: a readable field of a valid context. 0: an app of this machine.
    let forwarded_from = unsafe { (*ctx.skb.skb).ingress_ifindex };
    if forwarded_from != 0 && NODE_SIDE.get_ptr(&forwarded_from).is_some() {
        return Guard::NodeSide;
    }
    let off = BLOCK.get(0).is_none_or(|block| *block == 0);
    if off || !repeated(packet) { Guard::Open } else { Guard::Repeated }
}

/// The first flow to an IP:PORT closes it to others; its own retransmits pass. For how long is the daemon's to say: it
/// opens it when the flow is refused, and writes the block duration's end when it is established.
///
/// A UDP flow is treated like a connection, so a resolver that takes a new port for each query to the same server gets
/// "port unreachable" for those that overlap. Our own DNS address does not come here.
#[inline(always)]
fn repeated(packet: &Packet) -> bool {
    let key = RecursionKey { dest: packet.dest, port: packet.dest_port, proto: packet.proto, zero: 0 };
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: read at once; a concurrent update at worst shows the other of two flows that came at the same time.
    if let Some(first) = unsafe { RECURSION.get(&key) }
        && first.expiry_ns > now
    {
        return first.app != packet.source || first.app_port != packet.source_port;
    }
    let first = RecursionValue {
        expiry_ns: now + MAX_HELD_NS,
        app: packet.source,
        app_port: packet.source_port,
        state: HELD,
        zero: [0; 5],
    };
    // A full LRU map makes room: nothing to handle.
    let _ = RECURSION.insert(&key, &first, 0);
    false
}
