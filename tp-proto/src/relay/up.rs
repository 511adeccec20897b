//! From the socket to the tunnel.

use std::io::ErrorKind;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{oneshot, watch};
use tp_core::dial::DialError;
use tp_core::tunnel::{EofPolicy, Frame, MAX_DATA, WithheldEof};

use super::{Deaf, Heard, Side, SocketReader};
use crate::stream::{FrameSender, PeerGone, Role};

/// A socket whose far end has closed altogether gets this long to close as well.
const AFTER_CLOSE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// Nothing more will come: the far end has ended its call, or has been closed for long enough.
    NoMoreData,
    SocketReset,
    /// The far end was reset, and there was no room to say so.
    TunnelReset,
    /// The far end had closed its socket already; in the cluster this data would have been answered by a reset.
    WroteAfterClose,
}

/// `said` fires when the socket has no more data and the far end has been told so; from then on this only waits for
/// a reset of the socket.
pub(super) async fn run(
    reader: &mut impl SocketReader,
    tx: &mut Option<FrameSender>,
    side: Side,
    mut heard: watch::Receiver<Heard>,
    deaf: &Deaf,
    said: oneshot::Sender<()>,
    count: &mut u64,
) -> End {
    let mut closed_heard = heard.clone();
    loop {
        let closed = async {
            // an error means that the other direction has ended; its own result says why
            if closed_heard.wait_for(|heard| heard.closed).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(AFTER_CLOSE).await;
        };
        tokio::pin!(closed);
        let readable = tokio::select! {
            biased; // data first: it is what wakes us most of the time
            readable = reader.readable() => readable,
            () = &mut closed => return End::NoMoreData,
            end = given_up(tx.as_mut(), side.role, deaf) => return end,
        };
        let most = tokio::select! {
            biased;
            most = room(tx.as_mut(), reader) => match most {
                Ok(most) => most,
                Err(end) => return end,
            },
            () = closed => return End::NoMoreData,
        };
        match readable.and_then(|()| reader.try_read_chunk(most)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if reader.survives(&error) => {
                // a Telepresence peer has no word for it; an app on UDP copes with silence
                if let (EofPolicy::HalfClose, Some(tx)) = (side.policy, tx.as_mut()) {
                    let _ = tx.send(Frame::DialError(DialError::from_io(&error), error.to_string())).await;
                }
            }
            Err(_) => return End::SocketReset,
            Ok(None) => break,
            Ok(Some(data)) => {
                if heard.borrow().closed {
                    return End::WroteAfterClose;
                }
                *count += data.len() as u64;
                let Some(tx) = tx else { return End::NoMoreData };
                if let Err(end) = send(tx, data, reader).await {
                    return end;
                }
            }
        }
    }
    match side.policy {
        EofPolicy::HalfClose => {
            if let Some(tx) = tx {
                let _ = tx.send(Frame::HalfClose).await;
            }
        }
        EofPolicy::Withhold => {
            match side.role {
                Role::Opener => {
                    withhold(&mut heard).await;
                    *tx = None; // half-closes the gRPC call
                }
                // said at once, as Telepresence does: its client has nothing to wait for
                Role::Answerer => {
                    if let Some(tx) = tx {
                        let _ = tx.send(Frame::CloseSend).await;
                    }
                }
            }
        }
    }
    let _ = said.send(());
    tokio::select! {
        () = reader.aborted() => End::SocketReset,
        () = reset(tx.as_mut()) => End::TunnelReset,
    }
}

/// Where much waits in this process, a socket's data stays in the socket.
async fn room(tx: Option<&mut FrameSender>, reader: &mut impl SocketReader) -> Result<usize, End> {
    let Some(tx) = tx else { return Ok(MAX_DATA) };
    if let Some(room) = tx.room(MAX_DATA).now_or_never() {
        return Ok(room);
    }
    reader.rest();
    tokio::select! {
        room = tx.room(MAX_DATA) => Ok(room),
        () = reader.aborted() => Err(End::SocketReset),
    }
}

/// Also hears of a reset of the socket while its data have to wait.
async fn send(tx: &mut FrameSender, data: Bytes, reader: &mut impl SocketReader) -> Result<(), End> {
    let sent = match tx.send(Frame::Normal(data)).now_or_never() {
        Some(sent) => sent,
        // the rest of the frame
        None => tokio::select! {
            sent = tx.say_held() => sent,
            () = reader.aborted() => return Err(End::SocketReset),
        },
    };
    sent.map_err(|PeerGone| gone(tx))
}

/// Completes when the peer's socket was reset, or the opener has cancelled its call: it reads no more, and no data would
/// tell us so if the socket is silent. Only while the other direction is deaf: each frame that leaves wakes who asks here.
async fn given_up(tx: Option<&mut FrameSender>, role: Role, deaf: &Deaf) -> End {
    if let Some(tx) = tx {
        std::future::poll_fn(|_| if deaf.is() { Poll::Ready(()) } else { Poll::Pending }).await;
        match (tx.given_up().await, role) {
            (true, _) => return End::TunnelReset,
            (false, Role::Answerer) => return End::NoMoreData,
            (false, Role::Opener) => {}
        }
    }
    std::future::pending().await
}

/// Completes only when the peer's socket was reset.
async fn reset(tx: Option<&mut FrameSender>) {
    if let Some(tx) = tx
        && tx.given_up().await
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// The peer takes no more; what else it had to say comes from the other direction.
fn gone(tx: &mut FrameSender) -> End {
    match tx.given_up().now_or_never() {
        Some(true) => End::TunnelReset,
        Some(false) | None => End::NoMoreData,
    }
}

/// Waits until the far end has ended, or has been silent for so long that it may be waiting for us.
async fn withhold(heard: &mut watch::Receiver<Heard>) {
    let mut eof = WithheldEof::new(std::time::Instant::now());
    loop {
        let seen = *heard.borrow_and_update();
        if seen.no_more_data || seen.closed {
            return;
        }
        eof.heard(seen.last.max(eof.last_heard()));
        tokio::select! {
            changed = heard.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(eof.deadline().into()) => return,
        }
    }
}
