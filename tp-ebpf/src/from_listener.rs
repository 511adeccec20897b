//! The pair's host end, ingress: what the private namespace sends to apps.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::programs::TcContext;
use tp_common::flow::FlowKey;
use tp_common::outcome::Outcome;
use tp_common::{ICMP, ICMPV6, TCP, UDP};

use crate::maps::FLOWS;
use crate::parse::{self, Packet, Part};
use crate::quote;
use crate::vip;

const ETHERNET: usize = 14;

#[inline(always)]
pub fn decide(ctx: &TcContext) -> Outcome {
    let Ok(packet) = parse::packet(ctx, ETHERNET) else { return Outcome::ListenerUnreadable };
    if packet.dest.is_multicast() {
        return Outcome::ListenerNoise;
    }
    let (plain, with_vip) = match (packet.proto, packet.part) {
        (TCP | UDP, Part::Later) => (Outcome::ListenerFragment, Outcome::ListenerFragmentVip),
        (TCP, _) => (Outcome::ListenerTcp, Outcome::ListenerTcpVip),
        (UDP, _) => (Outcome::ListenerUdp, Outcome::ListenerUdpVip),
        (ICMP | ICMPV6, _) if packet.is_icmp_error() => return icmp_error(ctx, &packet),
        _ => return Outcome::ListenerOther,
    };
    let vip = vip::of_reply(&packet);
    if packet.proto == UDP && packet.part != Part::Later {
        seen(ctx, &packet, vip.unwrap_or(packet.source));
    }
    match vip {
        None => plain,
        Some(vip) => match vip::as_vip(ctx, &packet, vip) {
            Ok(()) => with_vip,
            Err(vip::Unwritable) => Outcome::ListenerRewriteFailed,
        },
    }
}

#[inline(always)]
fn icmp_error(ctx: &TcContext, packet: &Packet) -> Outcome {
    match quote::to_app(ctx, packet) {
        Ok(false) => Outcome::ListenerIcmpError,
        Ok(true) => Outcome::ListenerIcmpErrorVip,
        Err(vip::Unwritable) => Outcome::ListenerRewriteFailed,
    }
}

/// Counts a datagram of a known flow; a DNS answer has none.
#[inline(always)]
fn seen(ctx: &TcContext, packet: &Packet, dest: tp_common::Addr) {
    let key = FlowKey {
        app: packet.dest,
        dest,
        app_port: packet.dest_port,
        dest_port: packet.source_port,
        proto: packet.proto,
        zero: [0; 3],
    };
    if let Some(flow) = FLOWS.get_ptr_mut(&key) {
        // SAFETY: the value stays readable and writable while the program runs (RCU). Two CPUs may lose a count.
        unsafe {
            (*flow).packets_to_app += 1;
            (*flow).bytes_to_app += u64::from(ctx.len()) - ETHERNET as u64;
            (*flow).last_seen_ns = bpf_ktime_get_ns();
            (*flow).answered = 1;
        }
    }
}
