//! TUN egress: what apps (and forwarded machines) send into the cluster.
//!
//! Only what opens a flow goes to the daemon. There is no table of TCP connections: a packet that is no SYN
//! crosses, and one of an unknown connection gets the RST the kernel sends anyway.

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_ns};
use aya_ebpf::programs::TcContext;
use aya_log_ebpf::debug;
use tp_common::dns::DnsClient;
use tp_common::flow::FlowKey;
use tp_common::outcome::Outcome;
use tp_common::{ICMP, ICMPV6, TCP, UDP};

use crate::cross::{self, NoRoom};
use crate::maps::{DNS_CLIENTS, DNS_ORIG, DNS_V4, DNS_V6, FLOWS, LINK_LEN};
use crate::parse::{self, Packet, Part};
use crate::quote;
use crate::recursion::{self, Guard};
use crate::refuse;
use crate::vip;

#[inline(always)]
pub fn decide(ctx: &TcContext) -> Outcome {
    let Ok(packet) = parse::packet(ctx, LINK_LEN.load() as usize) else { return Outcome::AppUnreadable };
    if is_dns(&packet) {
        return dns(ctx, &packet);
    }
    if packet.dest.is_multicast() {
        return Outcome::AppMulticast;
    }
    match (packet.proto, packet.part) {
        (TCP | UDP, Part::Later) => translated(ctx, &packet, Outcome::AppFragment, Outcome::AppFragmentVip),
        (TCP, _) if packet.opens_connection() => opening(ctx, &packet, Outcome::AppSynHeld),
        (TCP, _) => translated(ctx, &packet, Outcome::AppTcp, Outcome::AppTcpVip),
        (UDP, _) => datagram(ctx, &packet),
        (ICMP | ICMPV6, _) if packet.is_icmp_error() => icmp_error(ctx, &packet),
        (ICMP | ICMPV6, _) => Outcome::AppIcmp,
        _ => Outcome::AppOther,
    }
}

/// A SYN, or the first datagram of a flow: held by the daemon unless the recursion guard objects.
#[inline(always)]
fn opening(ctx: &TcContext, packet: &Packet, held: Outcome) -> Outcome {
    let (refused, to_daemon) = match recursion::guard(ctx, packet) {
        Guard::Open => {
            debug!(ctx, "held: port {} -> {}", packet.source_port, packet.dest_port);
            return held;
        }
        Guard::NodeSide => (Outcome::AppNodeSide, Outcome::AppNodeSideToDaemon),
        Guard::Repeated => (Outcome::AppRecursion, Outcome::AppRecursionToDaemon),
    };
    debug!(ctx, "recursion: port {} -> {}", packet.source_port, packet.dest_port);
    match refuse::reset(ctx, packet) {
        Ok(()) => refused,
        Err(refuse::NotHere) => {
            refuse::ask_daemon(ctx, packet);
            to_daemon
        }
    }
}

#[inline(always)]
fn datagram(ctx: &TcContext, packet: &Packet) -> Outcome {
    let key = FlowKey {
        app: packet.source,
        dest: packet.dest,
        app_port: packet.source_port,
        dest_port: packet.dest_port,
        proto: packet.proto,
        zero: [0; 3],
    };
    let Some(flow) = FLOWS.get_ptr_mut(&key) else { return opening(ctx, packet, Outcome::AppUdpHeld) };
    // SAFETY: the value stays readable and writable while the program runs (RCU). Two CPUs may lose a count.
    unsafe {
        (*flow).packets_to_cluster += 1;
        (*flow).bytes_to_cluster += u64::from(ctx.len());
        (*flow).last_seen_ns = bpf_ktime_get_ns();
    }
    translated(ctx, packet, Outcome::AppUdp, Outcome::AppUdpVip)
}

/// Crosses, to the cluster address when the destination is a VIP.
#[inline(always)]
fn translated(ctx: &TcContext, packet: &Packet, plain: Outcome, with_vip: Outcome) -> Outcome {
    match vip::to_cluster(ctx, packet) {
        Ok(false) => crossed(ctx, packet, plain),
        Ok(true) => crossed(ctx, packet, with_vip),
        Err(vip::Unwritable) => Outcome::AppRewriteFailed,
    }
}

#[inline(always)]
fn icmp_error(ctx: &TcContext, packet: &Packet) -> Outcome {
    match quote::to_cluster(ctx, packet) {
        Ok(false) => crossed(ctx, packet, Outcome::AppIcmpError),
        Ok(true) => crossed(ctx, packet, Outcome::AppIcmpErrorVip),
        Err(vip::Unwritable) => Outcome::AppRewriteFailed,
    }
}

#[inline(always)]
fn crossed(ctx: &TcContext, packet: &Packet, outcome: Outcome) -> Outcome {
    match cross::add_header(ctx, packet.v6) {
        Ok(()) => outcome,
        Err(NoRoom) => Outcome::AppCrossFailed,
    }
}

#[inline(always)]
fn is_dns(packet: &Packet) -> bool {
    packet.dest == if packet.v6 { DNS_V6.load() } else { DNS_V4.load() }
}

/// Our DNS server listens in the private namespace: nothing to hold. If a hook has sent the query here, leaves word
/// which server the app meant.
#[inline(always)]
fn dns(ctx: &TcContext, packet: &Packet) -> Outcome {
    // SAFETY: a valid context; 0 for a forwarded packet.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) };
    if cookie != 0 {
        let client = DnsClient { app: packet.source, port: packet.source_port, proto: packet.proto, zero: 0 };
        // SAFETY: copied at once; the daemon never writes this map.
        match unsafe { DNS_ORIG.get(&cookie) } {
            // A full LRU map makes room; without the entry the daemon asks its default server.
            Some(server) => drop(DNS_CLIENTS.insert(&client, server, 0)),
            // Asked directly, by a port that may have belonged to another socket before.
            None => drop(DNS_CLIENTS.remove(&client)),
        }
    }
    crossed(ctx, packet, Outcome::AppDns)
}
