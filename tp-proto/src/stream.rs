//! One tunnel stream, seen the same way by its opener (gRPC client) and by the one who answers (gRPC server).

mod bytes;
mod meter;
mod outgoing;
mod receiver;
mod sender;
mod unframe;

use std::pin::pin;
use std::task::Poll;

use tonic::Status;
use tp_core::tunnel::{Features, Frame, FrameError, StreamInfo, StreamOk};

pub use bytes::TunnelBytes;
pub use meter::Meter;
pub use receiver::FrameReceiver;
pub use sender::{FrameSender, PeerGone};

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

impl TunnelStream {
    /// From now on `meter` counts what this stream carries.
    pub(crate) fn meter(&mut self, meter: &Meter) {
        self.tx.meter = meter.clone();
        self.rx.meter = meter.clone();
    }

    /// The answerer's half of the handshake: reads StreamInfo. StreamOK goes with the next frame: see
    /// [`FrameSender::say_held`].
    pub async fn answer(
        mut rx: FrameReceiver,
        mut tx: FrameSender,
        ours: Features,
    ) -> Result<(StreamInfo, Self), (StreamError, FrameSender)> {
        let first = {
            let mut first = pin!(rx.recv());
            match futures_util::poll!(first.as_mut()) {
                Poll::Ready(first) => first,
                Poll::Pending => {
                    tx.respond(); // some speak only when they have heard of us
                    first.await
                }
            }
        };
        let info = match first {
            Ok(Some(Frame::StreamInfo(info))) => info,
            Ok(Some(_)) => return Err((StreamError::Ended("without StreamInfo first"), tx)),
            Ok(None) => return Err((StreamError::Ended("before StreamInfo"), tx)),
            Err(error) => return Err((error, tx)),
        };
        rx.carries(info.id.proto);
        let features = info.features.and(ours);
        // a peer that offered nothing gets plain bytes
        tx.hold(Frame::StreamOk(StreamOk { features }));
        Ok((info, Self { tx, rx, features, role: Role::Answerer }))
    }
}
