//! TUN ingress: what the daemon writes, and what `from_listener` redirects.
//!
//! No map says which direction a packet of the daemon has: what it writes towards the cluster is what it held (SYNs
//! and datagrams, the very bytes it read), what it writes towards an app is an answer (RST, ICMP). The two never look
//! alike, so the kind of packet decides, at no cost and with nothing to keep in step with the routes.

use aya_ebpf::programs::TcContext;
use tp_common::UDP;
use tp_common::outcome::Outcome;

use crate::cross::{self, NoRoom};
use crate::maps::LINK_LEN;
use crate::parse::{self, Packet};
use crate::vip;

#[inline(always)]
pub fn decide(ctx: &TcContext) -> Outcome {
    if cross::take_reply_mark(ctx) {
        return Outcome::DaemonReply;
    }
    let Ok(packet) = parse::packet(ctx, LINK_LEN.load() as usize) else { return Outcome::DaemonUnreadable };
    if packet.opens_connection() {
        return admitted(ctx, &packet, Outcome::DaemonSyn, Outcome::DaemonSynVip);
    }
    if packet.proto == UDP {
        return admitted(ctx, &packet, Outcome::DaemonUdp, Outcome::DaemonUdpVip);
    }
    Outcome::DaemonAnswer
}

#[inline(always)]
fn admitted(ctx: &TcContext, packet: &Packet, plain: Outcome, with_vip: Outcome) -> Outcome {
    let outcome = match vip::to_cluster(ctx, packet) {
        Ok(false) => plain,
        Ok(true) => with_vip,
        Err(vip::Unwritable) => return Outcome::DaemonRewriteFailed,
    };
    match cross::add_header(ctx, packet.v6) {
        Ok(()) => outcome,
        Err(NoRoom) => Outcome::DaemonCrossFailed,
    }
}
