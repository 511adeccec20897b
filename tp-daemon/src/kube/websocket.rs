//! A port-forward's WebSocket as a byte stream.
//!
//! kube's own `Portforwarder` carries 4 KiB per message and moves both directions in one loop, which can stop for good
//! when both are full at once. Here HTTP/2 reads and writes the WebSocket itself: no task, no queue, one copy.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Channels of `v4.channel.k8s.io` for the first (only) port: each message starts with its channel.
const DATA: u8 = 0;
const ERROR: u8 = 1;
/// The first message of each channel carries the port, two bytes, little endian; it is checked by nobody but us.
const HEADER: usize = 2;

/// Most bytes per message. The API server copies through a 32 KiB buffer; more than 64 KiB gains nothing.
const MESSAGE: usize = 64 * 1024;

pub(super) struct ForwardedPort<S> {
    socket: WebSocketStream<S>,
    /// Received and not yet read.
    chunk: Bytes,
    /// Channels whose first message has been seen.
    opened: [bool; 2],
    ended: bool,
}

impl<S> ForwardedPort<S> {
    pub(super) fn new(socket: WebSocketStream<S>) -> Self {
        Self { socket, chunk: Bytes::new(), opened: [false; 2], ended: false }
    }

    /// Takes one message of the API server.
    fn receive(&mut self, mut message: Bytes) -> io::Result<()> {
        let Some(&channel) = message.first() else { return Ok(()) };
        message.advance(1);
        let Some(opened) = self.opened.get_mut(usize::from(channel)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("data on channel {channel}")));
        };
        if !*opened {
            *opened = true;
            if message.len() != HEADER {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a channel does not start with its port",
                ));
            }
            return Ok(());
        }
        match channel {
            DATA => self.chunk = message,
            ERROR => {
                return Err(io::Error::other(String::from_utf8_lossy(&message).trim().to_owned()));
            }
            _ => {}
        }
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ForwardedPort<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() && !self.ended {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(message))) => self.receive(message)?,
                Some(Ok(Message::Close(_))) | None => self.ended = true,
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(to_io(error))),
            }
        }
        let len = self.chunk.len().min(buf.remaining());
        buf.put_slice(&self.chunk[..len]);
        self.chunk.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ForwardedPort<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(to_io)?;
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        let len = total.min(MESSAGE);
        let mut message = Vec::with_capacity(1 + len);
        message.push(DATA);
        for buf in bufs {
            let room = 1 + len - message.len();
            message.extend_from_slice(&buf[..buf.len().min(room)]);
        }
        Pin::new(&mut self.socket).start_send(Message::binary(message)).map_err(to_io)?;
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(to_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(to_io)
    }
}

fn to_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{SinkExt, StreamExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::Role;

    /// Our end, and the API server's.
    async fn pair() -> (ForwardedPort<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (near, far) = duplex(256 * 1024);
        let client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let mut server = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        for channel in [DATA, ERROR] {
            server.send(Message::binary(vec![channel, 0x91, 0x1f])).await.unwrap();
        }
        (ForwardedPort::new(client), server)
    }

    #[tokio::test]
    async fn bytes_both_ways() {
        let (mut port, mut server) = pair().await;
        server.send(Message::binary(b"\0hello".to_vec())).await.unwrap();
        let mut buffer = [0; 5];
        port.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"hello");
        port.write_all(&vec![7; MESSAGE + 1]).await.unwrap();
        port.flush().await.unwrap();
        assert_eq!(server.next().await.unwrap().unwrap().into_data().len(), 1 + MESSAGE);
        assert_eq!(server.next().await.unwrap().unwrap().into_data()[..], [DATA, 7]);
    }

    #[tokio::test]
    async fn the_servers_error_is_ours() {
        let (mut port, mut server) = pair().await;
        server.send(Message::binary(b"\x01error forwarding port 8081".to_vec())).await.unwrap();
        let error = port.read_u8().await.unwrap_err();
        assert_eq!(error.to_string(), "error forwarding port 8081");
    }

    #[tokio::test]
    async fn nonsense_is_an_error() {
        let (mut port, mut server) = pair().await;
        server.send(Message::binary(vec![9, 1])).await.unwrap();
        assert_eq!(port.read_u8().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
