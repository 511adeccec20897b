//! The server's side of one connection.

use std::future::Future;
use std::time::Duration;

use h2::RecvStream;
use h2::server::SendResponse;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::body::send_body;
use super::gather::Gather;
use super::held::Windows;
use super::keep_alive::unanswered;
use super::{CONNECTION_WINDOW, FRAME, Flows, Piece, ReceivedBody, SEND_BUFFER, STREAM_WINDOW};
use crate::stream::{FrameReceiver, FrameSender, Role};

/// Flows are bounded per session, with a word to the client; this is only the bound for whoever has no session.
const STREAMS: u32 = 1 << 16;

const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(30);

/// What a server does with the calls of a connection.
pub trait Answer: Clone + Send + 'static {
    /// Whether [`Self::tunnel`] takes this call; all others are for [`Self::call`].
    fn is_tunnel(&self, head: &Parts) -> bool;

    fn tunnel(&self, rx: FrameReceiver, tx: FrameSender) -> impl Future<Output = ()> + Send;

    fn call(&self, request: Request<ReceivedBody>) -> impl Future<Output = Response<Body>> + Send;
}

/// Serves a connection to its end. Once `stopping` is cancelled it takes no new calls and ends with the last one.
pub async fn serve<I>(io: I, answer: &impl Answer, stopping: CancellationToken) -> Result<(), h2::Error>
where
    I: AsyncRead + AsyncWrite + Unpin + Send,
{
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buffer_size(2 * SEND_BUFFER) // of flows less waits: see `Unsent::poll_fits`
        .max_concurrent_streams(STREAMS)
        // flows that are cancelled all at once are normal (facts/telepresence-wire.md §1)
        .max_pending_accept_reset_streams(4096)
        // counted for the life of a connection: a frame that crosses with the end of its stream is one, and no attack
        .max_local_error_reset_streams(None)
        .max_concurrent_reset_streams(4096)
        .handshake(io);
    let mut connection = tokio::select! {
        connection = handshake => connection?,
        () = stopping.cancelled() => return Ok(()),
    };
    let mut gone = std::pin::pin!(unanswered(connection.ping_pong(), PING_EVERY, PONG_WITHIN, None));
    let flows = Flows::default();
    let mut gather = Gather::default();
    let mut windows = Windows::new(flows.clone());
    let mut goodbye = false;
    loop {
        let accepted = tokio::select! {
            accepted = std::future::poll_fn(|cx| {
                std::task::ready!(gather.poll(flows.count(), cx));
                connection.poll_accept(cx)
            }) => accepted,
            () = &mut gone => return Ok(()),
            window = windows.next() => {
                // the other case: the peer has not confirmed the last one yet; the next look comes soon
                if connection.set_initial_window_size(window).is_ok() {
                    windows.are(window);
                }
                continue;
            }
            () = stopping.cancelled(), if !goodbye => {
                goodbye = true;
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(accepted) = accepted else { return Ok(()) };
        let (request, respond) = accepted?;
        tokio::spawn(one(answer.clone(), flows.clone(), request, respond));
    }
}

async fn one(
    answer: impl Answer,
    flows: Flows,
    request: Request<RecvStream>,
    mut respond: SendResponse<Piece>,
) {
    let (head, body) = request.into_parts();
    if answer.is_tunnel(&head) {
        answer.tunnel(FrameReceiver::new(body, &flows), FrameSender::new(respond, Role::Answerer)).await;
        return;
    }
    let request = Request::from_parts(head, ReceivedBody::new(body));
    let response = tokio::select! {
        response = answer.call(request) => response,
        _ = std::future::poll_fn(|cx| respond.poll_reset(cx)) => return,
    };
    if let Err(error) = reply(response, respond).await {
        tracing::debug!(%error, "a reply could not be sent");
    }
}

async fn reply(response: Response<Body>, mut respond: SendResponse<Piece>) -> Result<(), h2::Error> {
    let (head, body) = response.into_parts();
    let ended = body.is_end_stream();
    let stream = respond.send_response(Response::from_parts(head, ()), ended)?;
    if ended { Ok(()) } else { send_body::<Body>(body, stream).await }
}
