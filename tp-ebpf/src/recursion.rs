//! The recursion guard: a flow that came out of the tunnel must not go into it again.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::programs::TcContext;
use tp_common::recursion::{RecursionKey, RecursionValue};

use crate::maps::{BLOCK_NS, NODE_SIDE, RECURSION};
use crate::parse::Packet;

pub enum Guard {
    Open,
    /// Forwarded from where the cluster's nodes live.
    NodeSide,
    /// Another flow asked for the same IP:PORT within the block duration.
    Repeated,
}

#[inline(always)]
pub fn guard(ctx: &TcContext, packet: &Packet) -> Guard {
    // SAFETY: a readable field of a valid context. 0: an app of this machine.
    let forwarded_from = unsafe { (*ctx.skb.skb).ingress_ifindex };
    if forwarded_from != 0 && NODE_SIDE.get_ptr(&forwarded_from).is_some() {
        return Guard::NodeSide;
    }
    let block = BLOCK_NS.load();
    if block == 0 || !repeated(packet, block) { Guard::Open } else { Guard::Repeated }
}

/// The first flow to an IP:PORT closes it to others for a while; its own retransmits pass.
#[inline(always)]
fn repeated(packet: &Packet, block: u64) -> bool {
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
        expiry_ns: now + block,
        app: packet.source,
        app_port: packet.source_port,
        zero: [0; 6],
    };
    // A full LRU map makes room: nothing to handle.
    let _ = RECURSION.insert(&key, &first, 0);
    false
}
