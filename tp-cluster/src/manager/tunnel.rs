//! One tunnel stream, from its first message to its end: handshake, session, policy, dial, relay.

use std::pin::pin;
use std::time::Duration;

use tonic::Status;
use tp_core::dial::DialError;
use tp_core::tunnel::{Features, Frame, StreamInfo};
use tp_proto::relay::{Datagrams, Report, relay, tcp_halves};
use tp_proto::stream::{FrameReceiver, FrameSender, StreamError, TunnelStream};

use super::Shared;
use super::dial::{Dialled, dial};
use super::sessions::NoFlow;

/// A client that opens a stream says at once what for.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A client hears at once that somebody is there: with the outcome of the dial, or before it if that takes its time.
const SLOW_DIAL: Duration = Duration::from_millis(20);

/// The daemon forgets a UDP association after 180 s of silence; we must not do so before it.
const UDP_IDLE: Duration = Duration::from_secs(200);

/// Serves one stream. Whatever the client sends, the worst that happens is a status on this stream.
pub(super) async fn serve(shared: &Shared, rx: FrameReceiver, tx: FrameSender) {
    let answer = tokio::time::timeout(HANDSHAKE, TunnelStream::answer(rx, tx, Features::OURS)).await;
    let (info, stream) = match answer {
        Ok(Ok(answered)) => answered,
        Ok(Err((error, tx))) => {
            tracing::debug!(%error, "tunnel stream refused");
            return tx.fail(&refusal(&error));
        }
        // the sender went with the handshake, which ends the call
        Err(_) => return tracing::debug!("tunnel stream without a first message"),
    };
    let (slot, ended) = match shared.sessions.flow(&info.session) {
        Ok(flow) => flow,
        Err(NoFlow::UnknownSession) => {
            return stream.tx.fail(&Status::not_found("this manager does not know the session"));
        }
        Err(NoFlow::NotAClient) => {
            let text = "an agent's stream is answered only for an intercepted connection";
            return stream.tx.fail(&Status::failed_precondition(text));
        }
        Err(NoFlow::TooMany) => {
            tracing::warn!(session = info.session, id = %info.id, "too many flows of one session");
            return reject(stream, DialError::Other, "too many flows of this session".into()).await;
        }
    };
    let id = info.id;
    tokio::select! {
        () = flow(shared, stream, &info) => {}
        () = ended.cancelled() => tracing::debug!(%id, "flow ended with its session"),
        () = shared.stopping.now.cancelled() => {}
    }
    drop(slot);
}

async fn flow(shared: &Shared, mut stream: TunnelStream, info: &StreamInfo) {
    let id = info.id;
    let sink = shared.sinks.at(&info.session, id.destination);
    if sink.is_none() && !shared.policy.allows(id.destination) {
        tracing::info!(%id, session = info.session, "denied by policy");
        let text = format!("the manager does not dial {}", id.destination.ip());
        return reject(stream, DialError::Denied, text).await;
    }
    let mut dialling = pin!(dial(id.proto, sink.unwrap_or(id.destination), info.dial_timeout));
    let mut slow = pin!(tokio::time::sleep(SLOW_DIAL));
    let dialled = loop {
        tokio::select! {
            dialled = &mut dialling => break dialled,
            _ = stream.tx.given_up() => return tracing::debug!(%id, "the client gave up during the dial"),
            () = &mut slow, if !slow.is_elapsed() => if stream.tx.say_held().await.is_err() {
                return;
            }
        }
    };
    let socket = match dialled {
        Ok(socket) => socket,
        Err((cause, text)) => {
            tracing::debug!(%id, %cause, text, "dial failed");
            return reject(stream, cause, text).await;
        }
    };
    if stream.tx.send(Frame::DialOk).await.is_err() {
        return;
    }
    tracing::debug!(%id, "dialled");
    let report: Report = match socket {
        Dialled::Tcp(socket) => match tcp_halves(socket) {
            Ok((reader, writer)) => relay(reader, writer, stream).await,
            Err(error) => return tracing::debug!(%id, %error, "the socket broke right after the dial"),
        },
        Dialled::Udp(socket) => {
            let (reader, writer) = Datagrams::halves(socket, Some(UDP_IDLE));
            relay(reader, writer, stream).await
        }
    };
    tracing::debug!(%id, to_client = report.to_tunnel, to_cluster = report.to_socket, ending = ?report.ending, "flow ended");
}

/// Tells why there is no connection, as well as the client understands, and ends the call.
async fn reject(mut stream: TunnelStream, cause: DialError, text: String) {
    let mut frames = Vec::with_capacity(3);
    if stream.features.has(Features::DIAL_ERROR) {
        frames.push(Frame::DialError(cause, text));
    }
    frames.extend([Frame::DialReject, Frame::CloseSend]);
    for frame in frames {
        if stream.tx.send(frame).await.is_err() {
            return;
        }
    }
}

fn refusal(error: &StreamError) -> Status {
    match error {
        StreamError::Frame(_) => Status::invalid_argument(error.to_string()),
        StreamError::Ended(_) => Status::failed_precondition(error.to_string()),
        StreamError::Status(status) => Status::new(status.code(), status.message()),
    }
}
