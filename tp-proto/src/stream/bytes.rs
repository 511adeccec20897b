//! A TCP tunnel stream as a plain byte stream, so that another protocol can run inside it: the way to an agent that only
//! the manager reaches.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tp_core::tunnel::{EofPolicy, Frame, MAX_DATA};

use super::{FrameReceiver, FrameSender, TunnelStream};

/// Dropping it ends the stream. `keep` lives as long, e.g. the stream's slot on its connection.
pub struct TunnelBytes<K> {
    tx: FrameSender,
    rx: FrameReceiver,
    policy: EofPolicy,
    /// Received and not yet read.
    chunk: Bytes,
    ended: bool,
    /// The half-close has been said, and the stream has been ended after it.
    finished: bool,
    closed: bool,
    _keep: K,
}

impl<K> TunnelBytes<K> {
    /// `stream` has been dialled.
    pub fn new(stream: TunnelStream, keep: K) -> Self {
        let TunnelStream { tx, rx, features, role: _ } = stream;
        Self {
            tx,
            rx,
            policy: EofPolicy::for_features(features),
            chunk: Bytes::new(),
            ended: false,
            finished: false,
            closed: false,
            _keep: keep,
        }
    }
}

impl<K: Unpin> AsyncRead for TunnelBytes<K> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() && !self.ended {
            match ready!(self.rx.poll_recv(cx)).map_err(io::Error::other)? {
                None => self.ended = true,
                Some(frame) => match frame {
                    Frame::Normal(data) => self.chunk = data,
                    Frame::HalfClose | Frame::CloseSend => self.ended = true,
                    Frame::Reset | Frame::Disconnect | Frame::DialReject => {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                    }
                    // keep-alives, and codes of a newer peer
                    _ => {}
                },
            }
        }
        let len = self.chunk.len().min(buf.remaining());
        buf.put_slice(&self.chunk[..len]);
        self.chunk.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl<K: Unpin> AsyncWrite for TunnelBytes<K> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // an empty message crashes a Telepresence peer (facts §0.2.2)
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.tx.poll_room(cx)).map_err(|_| gone())?;
        let len = buf.len().min(MAX_DATA);
        let frame = Frame::Normal(Bytes::copy_from_slice(&buf[..len]));
        self.tx.start(frame).map_err(|_| gone())?;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tx.poll_room(cx).map_err(|_| gone())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished {
            if self.policy == EofPolicy::HalfClose {
                ready!(self.tx.poll_room(cx)).map_err(|_| gone())?;
                self.tx.start(Frame::HalfClose).map_err(|_| gone())?;
            }
            self.finished = true;
        }
        if !self.closed {
            ready!(self.tx.poll_room(cx)).map_err(|_| gone())?;
            self.tx.finish();
            self.closed = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl<K> std::fmt::Debug for TunnelBytes<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunnelBytes").field("ended", &self.ended).finish_non_exhaustive()
    }
}

fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}
