//! The socket under a connection: small messages leave at once, and little waits in it that they could not overtake.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper_util::client::legacy::connect::{Connected, Connection};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tp_core::backlog::{Backlog, FIRST};

/// What is sent waits in HTTP/2's queues, where flows take turns, and not in the socket: how much that may hold that is not
/// yet on its way follows its rate (`tp_core::backlog`; `TCP_NOTSENT_LOWAT`, tcp(7)).
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    backlog: Backlog,
}

impl Link {
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_notsent_lowat(FIRST)?;
        Ok(Self { stream, backlog: Backlog::new(Instant::now()) })
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written
            && let Some(limit) = self.backlog.wrote(bytes, Instant::now)
            && let Err(error) = SockRef::from(&self.stream).set_tcp_notsent_lowat(limit)
        {
            tracing::debug!(%error, limit, "TCP_NOTSENT_LOWAT");
        }
        written
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// As the transport of an HTTP client.
impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
