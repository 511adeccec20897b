//! A TCP tunnel stream as a plain byte stream, so that another protocol can run inside it: the way to an agent that only
//! the manager reaches.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_stream::Stream;
use tokio_util::sync::PollSender;
use tonic::Status;
use tp_core::tunnel::{EofPolicy, Frame, MAX_DATA};

use super::TunnelStream;
use crate::TunnelMessage;

/// Dropping it ends the stream. `keep` lives as long, e.g. the stream's slot on its connection.
pub struct TunnelBytes<K> {
    tx: PollSender<Result<TunnelMessage, Status>>,
    rx: super::FrameReceiver,
    policy: EofPolicy,
    /// Received and not yet read.
    chunk: Bytes,
    ended: bool,
    finished: bool,
    _keep: K,
}

impl<K> TunnelBytes<K> {
    /// `stream` has been dialled.
    pub fn new(stream: TunnelStream, keep: K) -> Self {
        let TunnelStream { tx, rx, features, role: _ } = stream;
        Self {
            tx: PollSender::new(tx.0),
            rx,
            policy: EofPolicy::for_features(features),
            chunk: Bytes::new(),
            ended: false,
            finished: false,
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
            match ready!(Pin::new(&mut self.rx.0).poll_next(cx)) {
                None => self.ended = true,
                Some(Err(status)) => return Poll::Ready(Err(io::Error::other(status.message().to_owned()))),
                Some(Ok(message)) => match message.into_frame().map_err(io::Error::other)? {
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
        ready!(self.tx.poll_reserve(cx)).map_err(|_| gone())?;
        let len = buf.len().min(MAX_DATA);
        let frame = Frame::Normal(Bytes::copy_from_slice(&buf[..len]));
        self.tx.send_item(Ok(frame.into())).map_err(|_| gone())?;
        Poll::Ready(Ok(len))
    }

    /// Nothing waits here: what was written belongs to HTTP/2 already.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished {
            if self.policy == EofPolicy::HalfClose {
                ready!(self.tx.poll_reserve(cx)).map_err(|_| gone())?;
                self.tx.send_item(Ok(Frame::HalfClose.into())).map_err(|_| gone())?;
            }
            self.tx.close();
            self.finished = true;
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
