//! Opens one tunnel stream and waits until the far end has dialled: the honest half of "honest connect".

use std::time::{Duration, Instant};

use tonic::Code;
use tp_core::dial::DialError;
use tp_core::tunnel::{ConnId, Features, Frame, StreamInfo};

use super::{AuthChannel, MAX_MESSAGE};
use crate::agent::agent_client::AgentClient;
use crate::manager::manager_client::ManagerClient;
use crate::stream::{FrameReceiver, Role, StreamError, TunnelStream, outgoing_request};

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
    channel: AuthChannel,
    answerer: Answerer,
    dial: Dial,
) -> Result<TunnelStream, OpenError> {
    let limit = dial.timeout + dial.roundtrip;
    match tokio::time::timeout(limit, handshake(channel, answerer, dial)).await {
        Ok(result) => result,
        Err(_) => Err(OpenError::Dial(DialError::TimedOut)),
    }
}

async fn handshake(channel: AuthChannel, answerer: Answerer, dial: Dial) -> Result<TunnelStream, OpenError> {
    let (tx, request) = outgoing_request();
    let info = StreamInfo {
        id: dial.id,
        session: dial.session,
        roundtrip_latency: dial.roundtrip,
        dial_timeout: dial.timeout,
        features: Features::OURS,
    };
    // the channel has room: this cannot wait
    let _ = tx.send(Frame::StreamInfo(info)).await;
    let from_status = |status: &tonic::Status| from_status(status, answerer);
    let called = match answerer {
        Answerer::Manager => {
            ManagerClient::new(channel).max_decoding_message_size(MAX_MESSAGE).tunnel(request).await
        }
        Answerer::Agent => {
            AgentClient::new(channel).max_decoding_message_size(MAX_MESSAGE).tunnel(request).await
        }
    };
    let response = called.map_err(|status| from_status(&status))?;
    let mut rx = FrameReceiver::new(response.into_inner());
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

fn from_status(status: &tonic::Status, answerer: Answerer) -> OpenError {
    match status.code() {
        // only the manager keeps our session: an agent takes any (facts §2.2)
        Code::NotFound if answerer == Answerer::Manager => OpenError::SessionLost,
        Code::DeadlineExceeded => OpenError::Dial(DialError::TimedOut),
        Code::PermissionDenied => OpenError::Dial(DialError::Denied),
        _ => OpenError::Transport(status.message().to_owned()),
    }
}
