//! Takes from the TUN what the kernel programs leave to the daemon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tp_core::flow::{Flow, Proto};

use crate::dataplane::counts::Count;
use crate::dataplane::held::Verdict;
use crate::dataplane::maps::lock;
use crate::dataplane::packet::{self, Kind};
use crate::dataplane::shared::Shared;
use crate::dataplane::tcp::HeldSyn;
use crate::dataplane::tun::{MAX_PACKET, VNET_HDR};
use crate::dataplane::udp::HeldFirst;
use crate::dataplane::{Arrival, HeldConnect, HeldDatagram, answer};

/// Reads until the device is gone.
pub(super) async fn read(shared: Arc<Shared>) {
    let mut buf = vec![0; MAX_PACKET];
    loop {
        match shared.tun.read(&mut buf).await {
            Ok(len) => take(&shared, buf.get(..len).unwrap_or_default()).await,
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

async fn take(shared: &Arc<Shared>, raw: &[u8]) {
    let packet = raw.get(VNET_HDR..).unwrap_or_default();
    let seen = packet::read(packet);
    if seen.refuse {
        return guard_refused(shared, packet);
    }
    match seen.kind {
        Kind::Syn { flow, seq } => hold(shared, flow, Some(seq), raw).await,
        Kind::Udp { flow } => hold(shared, flow, None, raw).await,
        Kind::Echo => prohibited(shared, packet, Count::EchoRefused),
        Kind::Unsupported => prohibited(shared, packet, Count::UnsupportedRefused),
        Kind::Unanswerable => shared.counts.up(Count::Unanswerable),
        Kind::Unreadable => shared.counts.up(Count::Unreadable),
    }
}

async fn hold(shared: &Arc<Shared>, flow: Flow, seq: Option<u32>, raw: &[u8]) {
    let verdict = lock(&shared.held).on_packet(flow, seq, raw, Instant::now());
    if matches!(verdict, Verdict::Decided | Verdict::Again | Verdict::Late | Verdict::TooManyHeld) {
        shared.maps.block.opened(&flow); // nobody will decide about this packet
    }
    let id = match verdict {
        Verdict::Ask(id) => id,
        Verdict::Retransmit | Verdict::Decided => return shared.counts.up(Count::Retransmit),
        Verdict::Kept => return shared.counts.up(Count::Kept),
        Verdict::KeptTooMany => return shared.counts.up(Count::KeptTooMany),
        Verdict::TooManyHeld => return shared.counts.up(Count::TooManyHeld),
        Verdict::Late => return write_back(shared, Count::Late, flow, raw).await,
        Verdict::Again => return write_back(shared, Count::Again, flow, raw).await,
    };
    let cluster = shared.cluster_address(&flow);
    let holder = Arc::clone(shared);
    let arrival = match flow.proto {
        Proto::Tcp => {
            let hold = HeldSyn { shared: holder, flow, id };
            Arrival::Tcp(HeldConnect::new(flow, cluster, Box::new(hold)))
        }
        Proto::Udp => {
            let hold = HeldFirst { shared: holder, flow, id };
            Arrival::Udp(HeldDatagram::new(flow, cluster, Box::new(hold)))
        }
    };
    match shared.arrivals.try_send(arrival) {
        Ok(()) => shared.counts.up(Count::Arrived),
        Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
            // Forgotten before the arrival is dropped, or that would be an answer.
            lock(&shared.held).forget(&flow, id);
            shared.maps.block.opened(&flow);
            shared.counts.up(Count::QueueFull);
        }
    }
}

async fn write_back(shared: &Shared, count: Count, flow: Flow, raw: &[u8]) {
    shared.counts.up(count);
    if let Err(error) = shared.tun.write_back(raw).await {
        shared.counts.up(Count::WriteFailed);
        tracing::debug!(%error, %flow, "a packet could not be written back to the TUN");
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
