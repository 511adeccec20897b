//! Takes from the TUN what the kernel programs leave to the daemon.
//!
//! There is no task and no queue between the TUN and the session: what the session has not asked for yet waits in the
//! device's own queue, which is bounded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tp_core::flow::{Flow, Proto};

use crate::dataplane::counts::Count;
use crate::dataplane::held::{Id, Verdict};
use crate::dataplane::maps::lock;
use crate::dataplane::packet::{self, Kind};
use crate::dataplane::shared::Shared;
use crate::dataplane::tcp::HeldSyn;
use crate::dataplane::tun::{MAX_PACKET, VNET_HDR};
use crate::dataplane::udp::HeldFirst;
use crate::dataplane::{Arrival, HeldConnect, HeldDatagram, answer};

pub(super) struct Reader {
    buf: Vec<u8>,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { buf: vec![0; MAX_PACKET] }
    }

    /// Reads until there is a question for the session; `None` once the device is gone. Dropping the future loses no
    /// packet.
    pub(super) async fn next(&mut self, shared: &Arc<Shared>) -> Option<Arrival> {
        loop {
            match shared.tun.read(&mut self.buf).await {
                Ok(len) => {
                    if let Some(arrival) = take(shared, self.buf.get(..len).unwrap_or_default()) {
                        shared.counts.up(Count::Arrived);
                        return Some(arrival);
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::EBADFD) => {
                    tracing::error!("the TUN device has been deleted");
                    return None;
                }
                Err(error) => {
                    tracing::warn!(%error, "reading the TUN");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn take(shared: &Arc<Shared>, raw: &[u8]) -> Option<Arrival> {
    let packet = raw.get(VNET_HDR..).unwrap_or_default();
    let seen = packet::read(packet);
    match seen.kind {
        _ if seen.refuse => guard_refused(shared, packet),
        Kind::Syn { flow, seq } => return hold(shared, flow, Some(seq), raw),
        Kind::Udp { flow } => return hold(shared, flow, None, raw),
        Kind::Echo => prohibited(shared, packet, Count::EchoRefused),
        Kind::Unsupported => prohibited(shared, packet, Count::UnsupportedRefused),
        Kind::Unanswerable => shared.counts.up(Count::Unanswerable),
        Kind::Unreadable => shared.counts.up(Count::Unreadable),
    }
    None
}

fn hold(shared: &Arc<Shared>, flow: Flow, seq: Option<u32>, raw: &[u8]) -> Option<Arrival> {
    let verdict = lock(&shared.held).on_packet(flow, seq, raw, Instant::now());
    if matches!(verdict, Verdict::Decided | Verdict::Late | Verdict::TooManyHeld) {
        shared.maps.block.opened(&flow); // nobody will decide about this packet
    }
    let ignored = match verdict {
        Verdict::Ask(id) => return Some(ask(shared, flow, id)),
        Verdict::Retransmit | Verdict::Decided => Count::Retransmit,
        Verdict::Kept => Count::Kept,
        Verdict::KeptTooMany => Count::KeptTooMany,
        Verdict::TooManyHeld => Count::TooManyHeld,
        Verdict::Late => {
            if let Err(error) = shared.tun.write_back(raw) {
                shared.counts.up(Count::WriteFailed);
                tracing::debug!(%error, %flow, "a datagram could not be written back to the TUN");
            }
            Count::Late
        }
    };
    shared.counts.up(ignored);
    None
}

fn ask(shared: &Arc<Shared>, flow: Flow, id: Id) -> Arrival {
    let cluster = shared.cluster_address(&flow);
    let shared = Arc::clone(shared);
    match flow.proto {
        Proto::Tcp => Arrival::Tcp(HeldConnect::new(flow, cluster, Box::new(HeldSyn { shared, flow, id }))),
        Proto::Udp => {
            Arrival::Udp(HeldDatagram::new(flow, cluster, Box::new(HeldFirst { shared, flow, id })))
        }
    }
}

fn prohibited(shared: &Shared, packet: &[u8], count: Count) {
    shared.counts.up(count);
    if let Some(answer) = answer::prohibited(packet) {
        shared.answer(&answer);
    }
}

/// The kernel's recursion guard refuses this flow but could not make the answer itself.
fn guard_refused(shared: &Shared, packet: &[u8]) {
    shared.counts.up(Count::GuardRefused);
    if let Some(answer) = answer::refusal(packet, tp_core::dial::DialError::Refused) {
        shared.answer(&answer);
    }
}
