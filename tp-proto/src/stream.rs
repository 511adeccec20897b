//! One tunnel stream, seen the same way by its opener (gRPC client) and by the one who answers (gRPC server).

mod bytes;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Status, Streaming};
use tp_core::tunnel::{Features, Frame, FrameError, StreamInfo, StreamOk};

use crate::TunnelMessage;

pub use bytes::TunnelBytes;

/// Frames in flight between a relay and HTTP/2 in each direction, at most 64 KiB each. Flow control does the rest:
/// a full channel stops reading from the socket, so nothing is queued without bound and nothing is dropped.
const IN_FLIGHT: usize = 4;

/// Which end of the gRPC call this is. It decides how "no more data" is said to a Telepresence peer (facts §4.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Opener,
    Answerer,
}

#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("malformed tunnel message: {0}")]
    Frame(#[from] FrameError),
    #[error("{}", .0.message())]
    Status(#[from] Box<Status>),
    #[error("the tunnel stream ended {0}")]
    Ended(&'static str),
}

/// Both halves of a tunnel stream and what its two ends agreed on.
#[derive(Debug)]
pub struct TunnelStream {
    pub tx: FrameSender,
    pub rx: FrameReceiver,
    pub features: Features,
    pub role: Role,
}

/// Sends frames; dropping it half-closes the gRPC stream (opener) or ends the call (answerer).
#[derive(Debug)]
pub struct FrameSender(mpsc::Sender<Result<TunnelMessage, Status>>);

#[derive(Debug)]
pub struct FrameReceiver(Streaming<TunnelMessage>);

/// The peer is gone: nothing can be sent any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the peer ended the tunnel stream")]
pub struct PeerGone;

/// A channel for frames to be sent, and the stream that gRPC takes them from.
pub fn outgoing() -> (FrameSender, ReceiverStream<Result<TunnelMessage, Status>>) {
    let (tx, rx) = mpsc::channel(IN_FLIGHT);
    (FrameSender(tx), ReceiverStream::new(rx))
}

/// As [`outgoing`], for a request body, which carries no status: an error ends it.
pub fn outgoing_request() -> (FrameSender, impl Stream<Item = TunnelMessage> + Send + 'static) {
    let (tx, rx) = outgoing();
    (tx, rx.map_while(Result::ok))
}

impl FrameSender {
    pub async fn send(&self, frame: Frame) -> Result<(), PeerGone> {
        self.0.send(Ok(frame.into())).await.map_err(|_| PeerGone)
    }

    /// Ends the call with a status; only an answerer can say one.
    pub async fn fail(self, status: Status) {
        // a peer that is gone already does not need it
        let _ = self.0.send(Err(status)).await;
    }

    /// Completes when the peer no longer takes frames.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl FrameReceiver {
    pub fn new(streaming: Streaming<TunnelMessage>) -> Self {
        Self(streaming)
    }

    /// Next frame; `None` is the regular end of the peer's direction.
    pub async fn recv(&mut self) -> Result<Option<Frame>, StreamError> {
        match self.0.message().await {
            Ok(Some(message)) => Ok(Some(message.into_frame()?)),
            Ok(None) => Ok(None),
            // an opener that is through cancels its call right after its half-close (facts §4.4)
            Err(status) if status.code() == tonic::Code::Cancelled => Ok(None),
            Err(status) => Err(Box::new(status).into()),
        }
    }
}

impl TunnelStream {
    /// The answerer's half of the handshake: reads StreamInfo, says StreamOK.
    pub async fn answer(
        mut rx: FrameReceiver,
        tx: FrameSender,
        ours: Features,
    ) -> Result<(StreamInfo, Self), (StreamError, FrameSender)> {
        let info = match rx.recv().await {
            Ok(Some(Frame::StreamInfo(info))) => info,
            Ok(Some(_)) => return Err((StreamError::Ended("without StreamInfo first"), tx)),
            Ok(None) => return Err((StreamError::Ended("before StreamInfo"), tx)),
            Err(error) => return Err((error, tx)),
        };
        let features = info.features.and(ours);
        // a peer that offered nothing gets plain bytes
        if tx.send(Frame::StreamOk(StreamOk { features })).await.is_err() {
            return Err((StreamError::Ended("before StreamOK"), tx));
        }
        Ok((info, Self { tx, rx, features, role: Role::Answerer }))
    }
}
