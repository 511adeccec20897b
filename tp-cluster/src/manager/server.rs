//! Accepts connections and speaks HTTP on them: prior-knowledge HTTP/2 and HTTP/1.1, inside TLS or not.

mod preface;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tp_proto::http2::{self, Link};

use super::front::Front;
use preface::{Begun, Version};

/// For the first line of an HTTP/1.1 request, or the preface of HTTP/2.
const FIRST_WORD: Duration = Duration::from_secs(30);

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
        let (front, tls, stopping) = (front.clone(), tls.clone(), stopping.clone());
        tracker.spawn(async move {
            tracing::debug!(%peer, "connection");
            match tls {
                None => converse(stream, front, stopping).await,
                Some(tls) => match tokio::time::timeout(TLS_HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => converse(stream, front, stopping).await,
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "TLS handshake timed out"),
                },
            }
            tracing::debug!(%peer, "connection ended");
            drop(slot);
        });
    }
}

type Accepted = (Link, std::net::SocketAddr, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<Accepted> {
    let slot = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((Link::new(stream)?, peer, slot))
}

async fn converse<S>(stream: S, front: Front, stopping: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = tokio::select! {
        begun = tokio::time::timeout(FIRST_WORD, preface::read(stream)) => begun,
        () = stopping.cancelled() => return,
    };
    match begun {
        Ok(Ok((Version::Http2, io))) => {
            if let Err(error) = http2::serve(io, &front, stopping).await {
                tracing::debug!(%error, "connection broke");
            }
        }
        Ok(Ok((Version::Http1, io))) => hello(io, front, stopping).await,
        Ok(Err(error)) => tracing::debug!(%error, "connection broke before its first request"),
        Err(_) => tracing::debug!("connection without a first request"),
    }
}

async fn hello<S>(io: Begun<S>, front: Front, stopping: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(front));
    tokio::select! {
        result = connection => if let Err(error) = result {
            tracing::debug!(%error, "connection broke");
        },
        () = stopping.cancelled() => {}
    }
}
