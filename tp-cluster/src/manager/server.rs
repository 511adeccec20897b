//! Accepts connections and speaks HTTP on them: prior-knowledge HTTP/2 and HTTP/1.1, inside TLS or not.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::front::Front;

/// Data that one flow may have under way to us before its reader took it. Also the bound on what a reader that does not
/// read costs us.
const STREAM_WINDOW: u32 = 1 << 20;

/// As large as HTTP/2 allows: if the connection had a smaller window, a few readers that do not read would use it up, and
/// all other flows of the client would stand still.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// A client's message, a whole read of a socket, goes into one frame.
const FRAME: u32 = 128 * 1024;

/// Sent but not yet taken by HTTP/2 flow control, per stream.
const SEND_BUFFER: usize = 256 * 1024;

/// Flows are bounded per session, with a word to the client; this is only the bound for whoever has no session.
const MAX_STREAMS: u32 = 1 << 16;

/// A client opens one connection, or few; its flows are streams.
const MAX_CONNECTIONS: usize = 4096;

const TLS_HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves until `stopping`, then says goodbye to every connection. Connections end when `tracker` is waited for, or drop
/// with the runtime.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    front: Front,
    stopping: CancellationToken,
    tracker: TaskTracker,
) {
    let http = http();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = stopping.cancelled() => return,
        };
        let (stream, peer, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // out of file descriptors, most likely: wait until some are free again
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (http, front, tls, stopping) = (http.clone(), front.clone(), tls.clone(), stopping.clone());
        tracker.spawn(async move {
            tracing::debug!(%peer, "connection");
            match tls {
                None => converse(&http, stream, front, stopping).await,
                Some(tls) => match tokio::time::timeout(TLS_HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => converse(&http, stream, front, stopping).await,
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "TLS handshake timed out"),
                },
            }
            tracing::debug!(%peer, "connection ended");
            drop(slot);
        });
    }
}

type Accepted = (TcpStream, std::net::SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<Accepted> {
    let slot = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, slot))
}

fn http() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .max_concurrent_streams(MAX_STREAMS)
        // flows that are cancelled all at once are normal (facts/telepresence-wire.md §1)
        .max_pending_accept_reset_streams(4096)
        .max_local_error_reset_streams(4096)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(30));
    builder
}

async fn converse<S>(http: &Builder<TokioExecutor>, stream: S, front: Front, stopping: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http.serve_connection(TokioIo::new(stream), front.hyper());
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection broke");
    }
}
