//! Opens one tunnel stream and waits until the far end has dialled: the honest half of "honest connect".

use std::time::{Duration, Instant};

use tonic::{Code, Status};
use tp_core::dial::DialError;
use tp_core::tunnel::{ConnId, Features, Frame, StreamInfo};

use crate::http2::{Channel, status_of};
use crate::stream::{FrameReceiver, FrameSender, Role, StreamError, TunnelStream};

/// What to dial, and on whose behalf.
#[derive(Clone, Debug)]
pub struct Dial {
    pub id: ConnId,
    pub session: String,
    /// How long the far end may try.
    pub timeout: Duration,
    /// Upper bound of the way there and back, added to `timeout` before we give up ourselves.
    pub roundtrip: Duration,
}

/// Who answers at the other end of a channel. Both speak the same tunnel (facts §2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answerer {
    Manager,
    Agent,
}

impl Answerer {
    fn path(self) -> &'static str {
        match self {
            Self::Manager => crate::MANAGER_TUNNEL,
            Self::Agent => crate::AGENT_TUNNEL,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The far end dialled and failed: the app is told the same.
    #[error("{0}")]
    Dial(DialError),
    /// The manager does not know our session any more: connect anew.
    #[error("the manager does not know this session any more")]
    SessionLost,
    /// The way to the manager, or to the agent, is broken.
    #[error("no connection to the far end: {0}")]
    Transport(String),
}

impl OpenError {
    /// What the app is told. While the way to the manager is broken, a held SYN stays unanswered: the kernel sends it
    /// again, and by then the connection may be back.
    pub fn for_app(&self) -> DialError {
        match self {
            Self::Dial(cause) => *cause,
            Self::SessionLost | Self::Transport(_) => DialError::TimedOut,
        }
    }
}

/// Opens a stream on `channel` and completes the handshake and the dial.
pub(super) async fn open(
    channel: Channel,
    answerer: Answerer,
    dial: Dial,
) -> Result<TunnelStream, OpenError> {
    let limit = dial.timeout + dial.roundtrip;
    match tokio::time::timeout(limit, handshake(channel, answerer, dial)).await {
        Ok(result) => result,
        Err(_) => Err(OpenError::Dial(DialError::TimedOut)),
    }
}

async fn handshake(channel: Channel, answerer: Answerer, dial: Dial) -> Result<TunnelStream, OpenError> {
    let from_status = |status: &Status| from_status(status, answerer);
    let proto = dial.id.proto;
    let info = StreamInfo {
        id: dial.id,
        session: dial.session,
        roundtrip_latency: dial.roundtrip,
        dial_timeout: dial.timeout,
        features: Features::OURS,
    };
    let calling = channel.start(answerer.path()).await.map_err(|status| from_status(&status))?;
    let mut tx = FrameSender::new(calling.request, Role::Opener);
    // if the peer is gone, the response says so
    let _ = tx.send_first(Frame::StreamInfo(info));
    let response = calling.response.await.map_err(|error| from_status(&status_of(error)))?;
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => return Err(from_status(&status)),
        None if response.status() != http::StatusCode::OK => {
            return Err(OpenError::Transport(format!("the answer is HTTP {}", response.status())));
        }
        _ => {}
    }
    let mut rx = FrameReceiver::new(response.into_body(), &calling.flows);
    rx.carries(proto);
    let mut features = Features::NONE;
    let (started, mut cause) = (Instant::now(), None);
    loop {
        match rx.recv().await {
            Ok(Some(Frame::StreamOk(ok))) => features = ok.features.and(Features::OURS),
            Ok(Some(Frame::DialOk)) => return Ok(TunnelStream { tx, rx, features, role: Role::Opener }),
            Ok(Some(Frame::DialError(why, text))) => {
                tracing::debug!(id = %dial.id, %why, text, "dial failed");
                cause = Some(why);
            }
            Ok(Some(Frame::DialReject | Frame::Disconnect | Frame::CloseSend) | None) => {
                // a Telepresence peer does not say why
                let guess = || DialError::guess(started.elapsed(), dial.timeout);
                return Err(OpenError::Dial(cause.unwrap_or_else(guess)));
            }
            Ok(Some(_)) => {}
            Err(StreamError::Status(status)) => return Err(from_status(&status)),
            Err(error) => return Err(OpenError::Transport(error.to_string())),
        }
    }
}

fn from_status(status: &Status, answerer: Answerer) -> OpenError {
    match status.code() {
        // only the manager keeps our session: an agent takes any (facts §2.2)
        Code::NotFound if answerer == Answerer::Manager => OpenError::SessionLost,
        Code::DeadlineExceeded => OpenError::Dial(DialError::TimedOut),
        Code::PermissionDenied => OpenError::Dial(DialError::Denied),
        _ => OpenError::Transport(status.message().to_owned()),
    }
}
