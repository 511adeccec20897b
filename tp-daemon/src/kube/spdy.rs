//! A port-forward by SPDY/3.1 as a byte stream: what `kubectl` has always spoken with kubelets.
//!
//! The API server and the kubelet only copy bytes of it. A WebSocket costs more at the far end, where the container runtime
//! unmasks byte by byte and puts every message together anew (docs/performance.md). One connection carries one port, so of
//! SPDY there are two streams: data, and the server's word on what went wrong. No flow control: no server has any.

mod frame;

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use frame::{Event, HEADER, Incoming};

/// Streams that a client opens have odd numbers.
const ERROR: u32 = 1;
const DATA: u32 = 3;

/// Bytes per frame at most: with its header two whole TLS records, and no more than the far end copies at once.
const FRAME: usize = 32 * 1024 - HEADER;

/// One read of the socket.
const READ: usize = 64 * 1024;

/// The server's word is one line; of a longer one the beginning is enough.
const LONGEST_ERROR: usize = 4096;

/// Answers to pings that wait, in bytes, for a server that does not read them.
const MOST_CONTROL: usize = 64 * 1024;

/// Pieces that one write takes.
const PIECES: usize = 32;

/// The data stream of a port-forward.
pub(super) struct SpdyPort<S> {
    socket: S,
    incoming: Incoming,
    /// Received and not yet read.
    chunk: Bytes,
    error: Vec<u8>,
    /// Streams that the server has ended: errors, data.
    over: [bool; 2],
    ended: bool,
    /// Whole frames that go before the next data: answers to pings, the end.
    control: BytesMut,
    /// The header of the frame that is being sent, as far as it is not sent.
    header: Bytes,
    /// What that frame still lacks. The caller has offered these bytes, and offers them again.
    lacks: usize,
    finished: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> SpdyPort<S> {
    /// Opens the streams for `port` on an upgraded connection, and waits until the server has taken them: it would drop
    /// data that comes before.
    pub(super) async fn open(mut socket: S, port: u16) -> io::Result<Self> {
        socket.write_all(&frame::open(ERROR, DATA, port)).await?;
        socket.flush().await?;
        let mut this = Self {
            socket,
            incoming: Incoming::new(),
            chunk: Bytes::new(),
            error: Vec::new(),
            over: [false; 2],
            ended: false,
            control: BytesMut::new(),
            header: Bytes::new(),
            lacks: 0,
            finished: false,
        };
        loop {
            match std::future::poll_fn(|cx| this.poll_event(cx)).await? {
                Some(Event::Reply(DATA)) => return Ok(this),
                Some(event) => this.heed(event)?,
                None => this.ended = true,
            }
            if this.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// `None` is the end of the connection.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Event>>> {
        loop {
            if let Some(event) = self.incoming.next().map_err(invalid)? {
                return Poll::Ready(Ok(Some(event)));
            }
            self.incoming.buffer.reserve(READ);
            let read = pin!(self.socket.read_buf(&mut self.incoming.buffer));
            if ready!(read.poll(cx))? == 0 {
                return Poll::Ready(match self.incoming.is_between_frames() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                });
            }
        }
    }

    fn heed(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Data(DATA, bytes) => self.chunk = bytes,
            Event::Data(ERROR, bytes) => {
                let room = LONGEST_ERROR.saturating_sub(self.error.len());
                self.error.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            // its end, however it came, is that of the server's word
            Event::Fin(ERROR) | Event::Reset(ERROR) if !self.error.is_empty() => {
                return Err(io::Error::other(String::from_utf8_lossy(&self.error).trim().to_owned()));
            }
            Event::Fin(ERROR) | Event::Reset(ERROR) => self.over[0] = true,
            // some servers say what went wrong only after they have ended the data
            Event::Fin(DATA) => self.over[1] = true,
            Event::Reset(DATA) if self.error.is_empty() => return Err(io::ErrorKind::ConnectionReset.into()),
            Event::GoAway => self.over = [true; 2],
            Event::Ping(_) if self.control.len() >= MOST_CONTROL => {
                return Err(io::Error::other("the server pings on and does not read"));
            }
            Event::Ping(id) => self.control.extend_from_slice(&frame::ping(id)),
            Event::Reply(_) | Event::Data(..) | Event::Fin(_) | Event::Reset(_) => {}
        }
        self.ended |= self.over == [true; 2];
        Ok(())
    }

    /// Sends what goes before data, unless a frame is half sent.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.control.is_empty() && self.lacks == 0 {
            let n = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.control))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.control.advance(n);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for SpdyPort<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() && !self.ended {
            match ready!(self.poll_event(cx))? {
                Some(event) => {
                    let ping = matches!(event, Event::Ping(_));
                    self.heed(event)?;
                    if ping {
                        // what does not fit now goes with the next data
                        let _ = self.poll_control(cx)?;
                        let _ = Pin::new(&mut self.socket).poll_flush(cx)?;
                    }
                }
                None => self.ended = true,
            }
        }
        let len = self.chunk.len().min(buf.remaining());
        buf.put_slice(&self.chunk[..len]);
        self.chunk.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SpdyPort<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let bufs = &bufs[..bufs.len().min(PIECES)];
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if total == 0 {
            return Poll::Ready(Ok(0));
        }
        if this.lacks == 0 {
            ready!(this.poll_control(cx))?;
            this.lacks = total.min(FRAME);
            this.header = Bytes::copy_from_slice(&frame::data(DATA, this.lacks, false));
        }
        loop {
            let mut pieces = [IoSlice::new(&[]); PIECES + 1];
            pieces[0] = IoSlice::new(&this.header);
            let mut room = this.lacks;
            for (piece, buf) in pieces[1..].iter_mut().zip(bufs) {
                let part = &buf[..buf.len().min(room)];
                room -= part.len();
                *piece = IoSlice::new(part);
            }
            let n = ready!(Pin::new(&mut this.socket).poll_write_vectored(cx, &pieces[..=bufs.len()]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_header = n.min(this.header.len());
            this.header.advance(of_header);
            this.lacks -= n - of_header;
            if n > of_header {
                return Poll::Ready(Ok(n - of_header));
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_control(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished && self.lacks == 0 {
            self.finished = true;
            self.control.extend_from_slice(&frame::data(DATA, 0, true));
        }
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

fn invalid(error: frame::Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{DuplexStream, duplex};

    /// Our end, and the API server's after it has taken both streams.
    async fn pair() -> (SpdyPort<DuplexStream>, DuplexStream) {
        let (near, mut far) = duplex(256 * 1024);
        let server = async {
            let mut opening = vec![0; frame::open(ERROR, DATA, 8081).len()];
            far.read_exact(&mut opening).await.unwrap();
            for stream in [1, 3] {
                far.write_all(&[0x80, 3, 0, 2, 0, 0, 0, 6, 0, 0, 0, stream, 9, 9]).await.unwrap();
            }
            far
        };
        let (port, far) = tokio::join!(SpdyPort::open(near, 8081), server);
        (port.unwrap(), far)
    }

    async fn say(far: &mut DuplexStream, stream: u32, text: &[u8], fin: bool) {
        far.write_all(&frame::data(stream, text.len(), fin)).await.unwrap();
        far.write_all(text).await.unwrap();
    }

    #[tokio::test]
    async fn bytes_both_ways() {
        let (mut port, mut far) = pair().await;
        say(&mut far, DATA, b"hel", false).await;
        say(&mut far, DATA, b"lo", true).await;
        say(&mut far, ERROR, b"", true).await;
        let mut text = String::new();
        port.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        port.write_all(&vec![7; FRAME + 1]).await.unwrap();
        port.shutdown().await.unwrap();
        let mut sent = Vec::new();
        far.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent[..HEADER], frame::data(DATA, FRAME, false));
        assert_eq!(
            sent[HEADER + FRAME..],
            [&frame::data(DATA, 1, false)[..], &[7], &frame::data(DATA, 0, true)].concat()
        );
    }

    #[tokio::test]
    async fn a_narrow_way_breaks_no_frame() {
        let (near, mut far) = duplex(7);
        let mut port = SpdyPort {
            socket: near,
            incoming: Incoming::new(),
            chunk: Bytes::new(),
            error: Vec::new(),
            over: [false; 2],
            ended: false,
            control: frame::ping(2)[..].into(),
            header: Bytes::new(),
            lacks: 0,
            finished: false,
        };
        let sending = async {
            port.write_all(&[5; 100]).await.unwrap();
            port.control.extend_from_slice(&frame::ping(4));
            port.write_all(&[6; 30]).await.unwrap();
            port.shutdown().await.unwrap();
        };
        let mut sent = Vec::new();
        let ((), read) = tokio::join!(sending, far.read_to_end(&mut sent));
        read.unwrap();
        let mut incoming = Incoming::new();
        incoming.buffer.extend_from_slice(&sent);
        let mut seen = Vec::new();
        while let Some(event) = incoming.next().unwrap() {
            seen.push(event);
        }
        let data = |byte, len| Event::Data(DATA, vec![byte; len].into());
        let want = [Event::Ping(2), data(5, 100), Event::Ping(4), data(6, 30), Event::Fin(DATA)];
        assert_eq!(seen, want);
    }

    #[tokio::test]
    async fn the_servers_error_is_ours() {
        let (mut port, mut far) = pair().await;
        // containerd ends the data first
        say(&mut far, DATA, b"", true).await;
        say(&mut far, ERROR, b"error forwarding port 8081", true).await;
        let error = port.read_u8().await.unwrap_err();
        assert_eq!(error.to_string(), "error forwarding port 8081");
    }

    #[tokio::test]
    async fn a_ping_is_answered() {
        let (mut port, mut far) = pair().await;
        far.write_all(&frame::ping(2)).await.unwrap();
        say(&mut far, DATA, b"x", false).await;
        assert_eq!(port.read_u8().await.unwrap(), b'x');
        let mut answer = [0; 12];
        far.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, frame::ping(2));
    }

    #[tokio::test]
    async fn pings_of_a_server_that_does_not_read_do_not_pile_up() {
        let (mut port, mut far) = pair().await;
        let pinging = async { while far.write_all(&frame::ping(2)).await.is_ok() {} };
        tokio::select! {
            read = port.read_u8() => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::Other),
            () = pinging => unreachable!("our end is open"),
        }
        assert!(port.control.len() <= MOST_CONTROL + frame::ping(2).len());
    }

    #[tokio::test]
    async fn an_end_is_the_end_and_a_cut_is_an_error() {
        let (mut port, far) = pair().await;
        drop(far);
        assert_eq!(port.read(&mut [0; 8]).await.unwrap(), 0);
        let (mut port, mut far) = pair().await;
        far.write_all(&frame::data(DATA, 5, false)).await.unwrap();
        drop(far);
        assert_eq!(port.read_u8().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn nonsense_is_an_error() {
        let (mut port, mut far) = pair().await;
        far.write_all(&[0xff; 16]).await.unwrap();
        assert_eq!(port.read_u8().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
