//! Tells HTTP/2 with prior knowledge from HTTP/1.1 by the first bytes of a connection (RFC 9113 §3.4).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// A connection that some bytes have been read from already; they come out of it first.
#[derive(Debug)]
pub(super) struct Begun<S> {
    read: BytesMut,
    io: S,
}

/// Reads as far as it takes to tell.
pub(super) async fn read<S: AsyncRead + Unpin>(mut io: S) -> io::Result<(Version, Begun<S>)> {
    let mut read = BytesMut::with_capacity(1024);
    loop {
        if io.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if read.len() >= PREFACE.len() || !PREFACE.starts_with(&read) {
            let version = if read.starts_with(PREFACE) { Version::Http2 } else { Version::Http1 };
            return Ok((version, Begun { read, io }));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let len = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..len]);
        self.read.advance(len);
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    async fn told(pieces: &[&[u8]]) -> (Version, Vec<u8>) {
        let (mut near, far) = tokio::io::duplex(64);
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        tokio::spawn(async move {
            for piece in pieces {
                near.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let (version, mut io) = read(far).await.unwrap();
        let mut all = Vec::new();
        io.read_to_end(&mut all).await.unwrap();
        (version, all)
    }

    #[tokio::test]
    async fn nothing_is_lost() {
        let split = told(&[&PREFACE[..3], &PREFACE[3..20], &PREFACE[20..], b"more"]).await;
        assert_eq!(split, (Version::Http2, [PREFACE, b"more"].concat()));
        assert_eq!(
            told(&[b"PR", b"OPFIND / HTTP/1.1\r\n"]).await,
            (Version::Http1, b"PROPFIND / HTTP/1.1\r\n".to_vec())
        );
        assert_eq!(told(&[b"GET / HTTP/1.1\r\n\r\n"]).await.0, Version::Http1);
    }

    #[tokio::test]
    async fn a_connection_that_ends_early_is_an_error() {
        let (near, far) = tokio::io::duplex(64);
        drop(near);
        assert!(read(far).await.is_err());
    }
}
