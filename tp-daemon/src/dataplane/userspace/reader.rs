//! Takes every packet of the TUN to the flow it belongs to, or to the session's question.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tp_core::dial::DialError;
use tp_core::flow::{Flow, Proto};

use crate::dataplane::counts::Count;
use crate::dataplane::held::{Id, Verdict};
use crate::dataplane::maps::lock;
use crate::dataplane::tun::{MAX_PACKET, VNET_HDR};
use crate::dataplane::userspace::hold::HeldFlow;
use crate::dataplane::userspace::parse::{self, About, IcmpError, Packet, Segment};
use crate::dataplane::userspace::shared::Shared;
use crate::dataplane::{Arrival, HeldConnect, HeldDatagram, answer};

/// Reads until the device is gone.
pub(super) async fn read(shared: Arc<Shared>) {
    let mut buf = vec![0; MAX_PACKET];
    loop {
        match shared.wire.read(&mut buf).await {
            Ok(len) => take(&shared, buf.get(..len).unwrap_or_default()),
            Err(error) if error.raw_os_error() == Some(libc::EBADFD) => {
                tracing::error!("the TUN device has been deleted");
                return shared.dead.cancel();
            }
            Err(error) => {
                tracing::warn!(%error, "reading the TUN");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One packet, with its virtio header.
pub(super) fn take(shared: &Arc<Shared>, raw: &[u8]) {
    let packet = raw.get(VNET_HDR..).unwrap_or_default();
    match parse::read(packet) {
        Packet::Tcp { flow, segment } => tcp(shared, flow, segment, raw),
        Packet::Udp { flow, payload } => udp(shared, flow, payload, raw),
        Packet::Fragment => {
            shared.counts().up(Count::Fragment);
            let whole = lock(&shared.fragments).add(packet, Instant::now());
            if let Some(mut whole) = whole
                && let Packet::Udp { .. } = parse::read(&whole)
            {
                whole.splice(0..0, [0; VNET_HDR]);
                take(shared, &whole);
            }
        }
        Packet::IcmpError(error) => icmp_error(shared, error),
        Packet::Echo => prohibited(shared, packet, Count::EchoRefused),
        Packet::Unsupported => prohibited(shared, packet, Count::UnsupportedRefused),
        Packet::Unanswerable => shared.counts().up(Count::Unanswerable),
        Packet::Unreadable => shared.counts().up(Count::Unreadable),
    }
}

fn tcp(shared: &Arc<Shared>, flow: Flow, segment: Segment, raw: &[u8]) {
    let packet = raw.get(VNET_HDR..).unwrap_or_default();
    if let Some(connection) = shared.connection(&flow) {
        if segment.opens && connection.was_opened_by(segment.seq) {
            return shared.counts().up(Count::Retransmit);
        }
        return connection.receive(packet, segment);
    }
    if segment.opens {
        return hold(shared, flow, Some(segment.seq), raw);
    }
    shared.counts().up(Count::UnknownSegment);
    if let Some(reset) = answer::reset_of_unknown(packet) {
        shared.wire.write(&reset);
    }
}

fn udp(shared: &Arc<Shared>, flow: Flow, payload: &[u8], raw: &[u8]) {
    let known = lock(&shared.udp).get(&flow);
    match known {
        Some(association) => {
            let _after_those_that_waited = lock(&shared.held);
            association.receive(payload);
        }
        None => hold(shared, flow, None, raw),
    }
}

fn hold(shared: &Arc<Shared>, flow: Flow, seq: Option<u32>, raw: &[u8]) {
    if shared.guard.is_repeated(&flow) {
        shared.counts().up(Count::RecursionRefused);
        return refuse_at_once(shared, raw);
    }
    let mut held = lock(&shared.held);
    if shared.is_known(&flow) {
        drop(held);
        return take(shared, raw); // admitted since we looked
    }
    let verdict = held.on_packet(flow, seq, raw, Instant::now());
    drop(held);
    if matches!(verdict, Verdict::Decided | Verdict::Again | Verdict::Late | Verdict::TooManyHeld) {
        shared.guard.opened(&flow); // nobody will decide about this packet
    }
    let id = match verdict {
        Verdict::Ask(id) => id,
        Verdict::Retransmit | Verdict::Decided | Verdict::Again => {
            return shared.counts().up(Count::Retransmit);
        }
        Verdict::Kept => return shared.counts().up(Count::Kept),
        Verdict::KeptTooMany => return shared.counts().up(Count::KeptTooMany),
        Verdict::TooManyHeld => return shared.counts().up(Count::TooManyHeld),
        // its flow could not be started
        Verdict::Late => return shared.counts().up(Count::Late),
    };
    if shared.guard.node_side().is_empty() {
        return arrive(shared, flow, id);
    }
    let (shared, raw) = (Arc::clone(shared), raw.to_vec());
    tokio::spawn(async move {
        if !shared.guard.is_from_node_side(&flow).await {
            return arrive(&shared, flow, id);
        }
        shared.counts().up(Count::NodeSideRefused);
        lock(&shared.held).forget(&flow, id);
        shared.guard.opened(&flow);
        refuse_at_once(&shared, &raw);
    });
}

fn arrive(shared: &Arc<Shared>, flow: Flow, id: Id) {
    shared.counts().up(if flow.proto == Proto::Tcp { Count::SynHeld } else { Count::UdpHeld });
    let cluster = shared.cluster_address(&flow);
    let hold = Box::new(HeldFlow { shared: Arc::clone(shared), flow, id });
    let arrival = match flow.proto {
        Proto::Tcp => Arrival::Tcp(HeldConnect::new(flow, cluster, hold)),
        Proto::Udp => Arrival::Udp(HeldDatagram::new(flow, cluster, hold)),
    };
    match shared.arrivals.try_send(arrival) {
        Ok(()) => shared.counts().up(Count::Arrived),
        Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
            // Forgotten before the arrival is dropped, or that would be an answer.
            lock(&shared.held).forget(&flow, id);
            shared.guard.opened(&flow);
            shared.counts().up(Count::QueueFull);
        }
    }
}

fn icmp_error(shared: &Shared, IcmpError { flow, about }: IcmpError) {
    shared.counts().up(Count::IcmpError);
    match flow.proto {
        Proto::Udp => {
            let association = lock(&shared.udp).get(&flow);
            if let Some(association) = association {
                association.hear(about);
            }
        }
        // Anything else may pass, as kernels see it: the connection's own timers decide.
        Proto::Tcp => {
            if let (About::TooLarge(mtu), Some(connection)) = (about, shared.connection(&flow)) {
                connection.shrink(mtu.max(LEAST_MTU));
            }
        }
    }
}

/// No router may ask for less (RFC 791).
const LEAST_MTU: u32 = 576;

fn prohibited(shared: &Shared, packet: &[u8], count: Count) {
    shared.counts().up(count);
    if let Some(answer) = answer::prohibited(packet) {
        shared.wire.write(&answer);
    }
}

/// Recursion is answered, never left to a timeout.
fn refuse_at_once(shared: &Shared, raw: &[u8]) {
    if let Some(answer) = answer::refusal(raw.get(VNET_HDR..).unwrap_or_default(), DialError::Refused) {
        shared.wire.write(&answer);
    }
}
