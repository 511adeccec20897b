//! From the socket to the tunnel.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tp_core::dial::DialError;
use tp_core::tunnel::{EofPolicy, Frame, WithheldEof};

use super::{Heard, SocketReader};
use crate::stream::{FrameSender, Role};

/// A socket whose far end has closed altogether gets this long to close as well.
const AFTER_CLOSE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// Nothing more will come: the far end has ended its call, or has been closed for long enough.
    NoMoreData,
    SocketReset,
    /// The far end had closed its socket already; in the cluster this data would have been answered by a reset.
    WroteAfterClose,
}

/// `said` fires when the socket has no more data and the far end has been told so; from then on this only waits for
/// a reset of the socket.
pub(super) async fn run(
    reader: &mut impl SocketReader,
    tx: &mut Option<FrameSender>,
    role: Role,
    policy: EofPolicy,
    mut heard: watch::Receiver<Heard>,
    said: oneshot::Sender<()>,
    count: &mut u64,
) -> End {
    loop {
        let closed = async {
            // an error means that the other direction has ended; its own result says why
            if heard.wait_for(|heard| heard.closed).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(AFTER_CLOSE).await;
        };
        let chunk = tokio::select! {
            biased; // data first: it is what wakes us most of the time
            chunk = reader.read_chunk() => chunk,
            () = closed => return End::NoMoreData,
            () = cancelled(tx.as_mut(), role) => return End::NoMoreData,
        };
        match chunk {
            Err(error) if reader.survives(&error) => {
                // a Telepresence peer has no word for it; an app on UDP copes with silence
                if let (EofPolicy::HalfClose, Some(tx)) = (policy, tx.as_mut()) {
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
                if tx.send(Frame::Normal(data)).await.is_err() {
                    // the peer ended its call: what it still had to say comes from the other direction
                    return End::NoMoreData;
                }
            }
        }
    }
    match policy {
        EofPolicy::HalfClose => {
            if let Some(tx) = tx {
                let _ = tx.send(Frame::HalfClose).await;
            }
        }
        EofPolicy::Withhold => {
            match role {
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
    reader.aborted().await;
    End::SocketReset
}

/// Completes when the opener has cancelled its call: it reads no more, and no data would tell us so if the socket is
/// silent.
async fn cancelled(tx: Option<&mut FrameSender>, role: Role) {
    match tx {
        Some(tx) if role == Role::Answerer => tx.closed().await,
        _ => std::future::pending().await,
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
