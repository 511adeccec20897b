//! From the tunnel to the socket.

use std::time::Instant;

use tokio::sync::watch;
use tp_core::tunnel::{EofPolicy, Frame};

use super::{Deaf, Heard, Side, SocketWriter};
use crate::stream::{FrameReceiver, Role};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// The far end has closed, and the socket has been told that no more data comes.
    Closed,
    /// The socket cannot take data any more.
    SocketReset,
    /// The far end was reset, or the tunnel broke.
    TunnelReset,
}

pub(super) async fn run(
    rx: &mut FrameReceiver,
    writer: &mut impl SocketWriter,
    side: Side,
    heard: watch::Sender<Heard>,
    deaf: &Deaf,
    count: &mut u64,
) -> End {
    loop {
        match rx.recv().await {
            Ok(Some(Frame::Normal(data))) => {
                if side.policy == EofPolicy::Withhold {
                    heard.send_modify(|heard| heard.last = Instant::now());
                }
                *count += data.len() as u64;
                deaf.set(true);
                if rx.using(writer.write_chunk(data)).await.is_err() {
                    return End::SocketReset;
                }
                deaf.set(false);
            }
            // go on listening: the far end may still be reset by what we send
            Ok(Some(Frame::HalfClose)) => {
                if writer.finish().await.is_err() {
                    return End::SocketReset;
                }
                heard.send_modify(|heard| heard.no_more_data = true);
            }
            Ok(Some(Frame::CloseSend)) => return closed(writer, &heard).await,
            Ok(None) => {
                // between our own ends a direction never ends without a word, unless both have said theirs
                let cut = side.policy == EofPolicy::HalfClose && !heard.borrow().no_more_data;
                return match side.role {
                    _ if cut => End::TunnelReset,
                    // a Telepresence client has nothing more to send; it goes on reading until we end the call
                    Role::Answerer => no_more_data(writer, &heard).await,
                    Role::Opener => closed(writer, &heard).await,
                };
            }
            Ok(Some(Frame::Reset | Frame::Disconnect | Frame::DialReject)) => return End::TunnelReset,
            // in the middle of a flow: the fate of a datagram, which does not end it
            Ok(Some(Frame::DialError(cause, _))) => writer.undeliverable(cause),
            // handshake frames out of place, keep-alives, and codes of a newer peer carry no data
            Ok(Some(_)) => {}
            Err(error) => {
                tracing::debug!(%error, "tunnel stream broke");
                return End::TunnelReset;
            }
        }
    }
}

async fn no_more_data(writer: &mut impl SocketWriter, heard: &watch::Sender<Heard>) -> End {
    if writer.finish().await.is_err() {
        return End::SocketReset;
    }
    heard.send_modify(|heard| heard.no_more_data = true);
    End::Closed
}

async fn closed(writer: &mut impl SocketWriter, heard: &watch::Sender<Heard>) -> End {
    if writer.finish().await.is_err() {
        return End::SocketReset;
    }
    heard.send_modify(|heard| {
        heard.no_more_data = true;
        heard.closed = true;
    });
    End::Closed
}
