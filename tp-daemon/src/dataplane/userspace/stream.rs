//! The daemon's ends of flows that end in user space, as the relay and others want them.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tp_proto::relay::{SocketReader, SocketWriter};

use crate::dataplane::userspace::association::Association;
use crate::dataplane::userspace::connection::Connection;

/// An app's TCP connection. Dropping it closes.
#[derive(Debug)]
pub struct Stream(Arc<Hand>);

/// The read side.
#[derive(Debug)]
pub struct ReadHalf(Arc<Hand>);

/// The write side.
#[derive(Debug)]
pub struct WriteHalf(Arc<Hand>);

/// Lets the connection go when nobody holds it any more.
struct Hand(Arc<Connection>);

impl Stream {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self(Arc::new(Hand(connection)))
    }

    pub(super) async fn established(&self) -> io::Result<()> {
        poll_fn(|cx| self.0.0.poll_established(cx)).await
    }

    /// Both directions for two tasks.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (ReadHalf(Arc::clone(&self.0)), WriteHalf(self.0))
    }

    /// Aborts: the app sees ECONNRESET.
    pub fn reset(self) {
        self.0.0.abort();
    }
}

impl SocketReader for ReadHalf {
    async fn readable(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.0.0.poll_readable(cx)).await;
        Ok(())
    }

    fn try_read_chunk(&mut self, most: usize) -> io::Result<Option<Bytes>> {
        match self.0.0.poll_read(&mut Context::from_waker(Waker::noop()), most) {
            Poll::Ready(read) => read,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    async fn aborted(&mut self) {
        poll_fn(|cx| self.0.0.poll_reset(cx)).await;
    }
}

impl SocketWriter for WriteHalf {
    async fn write_chunk(&mut self, mut data: Bytes) -> io::Result<()> {
        while data.has_remaining() {
            let taken = poll_fn(|cx| self.0.0.poll_write(cx, &data)).await?;
            data.advance(taken);
        }
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.0.0.finish();
        Ok(())
    }

    fn reset(&mut self) {
        self.0.0.abort();
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(bytes) = ready!(self.0.0.poll_read(cx, buf.remaining()))? {
            buf.put_slice(&bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.0.poll_write(cx, buf)
    }

    /// What was written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.0.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.flow)
    }
}

/// A UDP flow. Dropping it forgets the flow.
#[derive(Debug)]
pub(in crate::dataplane) struct Datagrams(Arc<Association>);

impl Datagrams {
    pub(super) fn new(association: Arc<Association>) -> Self {
        Self(association)
    }

    pub(in crate::dataplane) async fn readable(&self) {
        self.0.readable().await;
    }

    pub(in crate::dataplane) async fn recv(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        self.0.recv(buf).await
    }

    pub(in crate::dataplane) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        self.0.send(datagram)
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.0.let_go();
    }
}
