//! What a relay needs from a socket: chunks in, chunks out, end of data, reset.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tp_core::dial::DialError;

/// Read side of a socket.
pub trait SocketReader: Send {
    /// Completes when there is something to read, or an end or an error; holds no buffer meanwhile.
    fn readable(&mut self) -> impl Future<Output = io::Result<()>> + Send;
    /// Next piece of the byte stream (at most `most` bytes, not empty), or the next datagram, whole. `None`: no more. An
    /// error of kind `WouldBlock`: nothing now.
    fn try_read_chunk(&mut self, most: usize) -> io::Result<Option<Bytes>>;
    /// Nothing will be read for a while: buffers can go.
    fn rest(&mut self) {}
    /// Whether the socket goes on after this error of [`Self::try_read_chunk`]: it concerned a datagram that had been
    /// sent (ICMP).
    fn survives(&self, _: &io::Error) -> bool {
        false
    }
    /// Completes if the socket is reset. Asked when nothing is read: after the end of its data, or for want of room.
    fn aborted(&mut self) -> impl Future<Output = ()> + Send;
}

/// Write side of a socket.
pub trait SocketWriter: Send {
    /// Writes all of `data`; for datagrams, as one.
    fn write_chunk(&mut self, data: Bytes) -> impl Future<Output = io::Result<()>> + Send;
    /// No more data will be written (FIN).
    fn finish(&mut self) -> impl Future<Output = io::Result<()>> + Send;
    /// Makes the close of this socket a reset (RST).
    fn reset(&mut self);
    /// A datagram that was read from this socket came back from the cluster as undeliverable.
    fn undeliverable(&mut self, _: DialError) {}
}

/// Read half of a kernel TCP socket. An idle one holds no buffer: 10 000 idle connections cost only themselves.
#[derive(Debug)]
pub struct TcpReader {
    half: OwnedReadHalf,
    buffer: BytesMut,
}

impl TcpReader {
    pub fn new(half: OwnedReadHalf) -> Self {
        Self { half, buffer: BytesMut::new() }
    }
}

/// Write half of a TCP connection whose close can be made a reset.
pub trait Abort: AsyncWrite + Unpin + Send {
    /// Closes with RST instead of FIN, as soon as the read half is dropped too.
    fn abort(self);
}

impl Abort for OwnedWriteHalf {
    fn abort(self) {
        // fails only on a socket that has no connection left to reset
        let _ = socket2::SockRef::from(self.as_ref()).set_linger(Some(Duration::ZERO));
        self.forget(); // its drop would send FIN first
    }
}

/// Write half of a TCP connection.
#[derive(Debug)]
pub struct TcpWriter<W = OwnedWriteHalf>(Option<W>);

/// Splits a kernel TCP socket for a relay. Small messages leave at once (TCP_NODELAY).
pub fn tcp_halves(stream: TcpStream) -> io::Result<(TcpReader, TcpWriter)> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    Ok((TcpReader::new(read), TcpWriter::new(write)))
}

impl SocketReader for TcpReader {
    async fn readable(&mut self) -> io::Result<()> {
        if let Some(ready) = self.half.readable().now_or_never() {
            return ready;
        }
        self.rest();
        self.half.readable().await
    }

    fn try_read_chunk(&mut self, most: usize) -> io::Result<Option<Bytes>> {
        self.buffer.reserve(most);
        // unlike try_read, this knows that a short read was all there is, and saves the system call that says so
        let mut room = (&mut self.buffer).limit(most);
        match self.half.read_buf(&mut room).now_or_never() {
            Some(Ok(0)) => Ok(None),
            Some(Ok(_)) => Ok(Some(self.buffer.split().freeze())),
            Some(Err(error)) => Err(error),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn rest(&mut self) {
        self.buffer = BytesMut::new();
    }

    async fn aborted(&mut self) {
        // EPOLLERR stays up once the socket has an error; FIN in both directions alone is not one
        let _ = self.half.ready(Interest::ERROR).await;
    }
}

impl<W: Abort> TcpWriter<W> {
    pub fn new(half: W) -> Self {
        Self(Some(half))
    }

    fn half(&mut self) -> io::Result<&mut W> {
        self.0.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<W: Abort> SocketWriter for TcpWriter<W> {
    async fn write_chunk(&mut self, data: Bytes) -> io::Result<()> {
        self.half()?.write_all(&data).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        match self.half()?.shutdown().await {
            // the app has closed already: nobody is left to be told
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    fn reset(&mut self) {
        if let Some(half) = self.0.take() {
            half.abort();
        }
    }
}

/// A connected datagram socket, as both halves of a relay. An error of kind `TimedOut` ends the association.
pub trait DatagramSocket: Send + Sync {
    fn recv(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    fn send(&self, data: &[u8]) -> impl Future<Output = io::Result<usize>> + Send;
    /// Completes when `recv` has something, so that an idle association needs no buffer.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// What was received last could not be delivered in the cluster.
    fn undeliverable(&self, _: DialError) {}
}

impl DatagramSocket for tokio::net::UdpSocket {
    fn recv(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send {
        Self::recv(self, buf)
    }

    fn send(&self, data: &[u8]) -> impl Future<Output = io::Result<usize>> + Send {
        Self::send(self, data)
    }

    async fn readable(&self) -> io::Result<()> {
        loop {
            // an ICMP answer makes the socket not readable, but faulty
            let ready = self.ready(Interest::READABLE | Interest::ERROR).await?;
            if ready.is_error() {
                let error = self.take_error()?;
                // forget the readiness: `take_error` is not seen by tokio
                let _ = self.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                if let Some(error) = error {
                    return Err(error);
                }
            }
            if ready.is_readable() {
                return Ok(());
            }
        }
    }
}

/// One half of a datagram relay. Errors of single datagrams (ICMP) are not the end of an association: a UDP app goes
/// on sending. Idleness is, and ends both halves at once, at both ends of the tunnel.
#[derive(Debug)]
pub struct Datagrams<S> {
    socket: Arc<S>,
    idle: Option<Idle>,
}

#[derive(Clone, Debug)]
struct Idle {
    after: Duration,
    last: Arc<std::sync::Mutex<tokio::time::Instant>>,
}

/// Largest UDP payload (RFC 768 less the IPv4 header).
const MAX_DATAGRAM: usize = 65_507;

thread_local! {
    /// Where datagrams arrive, of which nobody knows the length before: a fresh buffer for each would have to be zeroed.
    static DATAGRAM: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_DATAGRAM].into());
}

impl<S: DatagramSocket> Datagrams<S> {
    /// Both halves for a relay. `idle`: how long without a datagram either way; `None` if the socket itself decides.
    pub fn halves(socket: S, idle: Option<Duration>) -> (Self, Self) {
        let socket = Arc::new(socket);
        let idle = idle.map(|after| Idle { after, last: Arc::new(tokio::time::Instant::now().into()) });
        (Self { socket: Arc::clone(&socket), idle: idle.clone() }, Self { socket, idle })
    }
}

impl Idle {
    fn touch(&self) {
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = tokio::time::Instant::now();
    }

    /// Completes when nothing has been heard for long enough.
    async fn expired(&self) {
        loop {
            let last = *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if last.elapsed() >= self.after {
                return;
            }
            tokio::time::sleep_until(last + self.after).await;
        }
    }
}

impl<S: DatagramSocket> SocketReader for Datagrams<S> {
    async fn readable(&mut self) -> io::Result<()> {
        let expired = async {
            match &self.idle {
                Some(idle) => idle.expired().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            readable = self.socket.readable() => readable,
            () = expired => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn try_read_chunk(&mut self, _: usize) -> io::Result<Option<Bytes>> {
        let datagram = DATAGRAM.with_borrow_mut(|buffer| {
            let received = self.socket.recv(buffer).now_or_never();
            let len = received.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))?;
            io::Result::Ok(Bytes::copy_from_slice(&buffer[..len]))
        })?;
        if let Some(idle) = &self.idle {
            idle.touch();
        }
        Ok(Some(datagram))
    }

    fn survives(&self, error: &io::Error) -> bool {
        transient(error)
    }

    async fn aborted(&mut self) {
        std::future::pending::<()>().await;
    }
}

impl<S: DatagramSocket> SocketWriter for Datagrams<S> {
    async fn write_chunk(&mut self, data: Bytes) -> io::Result<()> {
        if let Some(idle) = &self.idle {
            idle.touch();
        }
        match self.socket.send(&data).await {
            // the kernel reports the fate of an earlier datagram and has not sent this one
            Err(error) if transient(&error) => match self.socket.send(&data).await {
                Err(error) if !transient(&error) => Err(error),
                _ => Ok(()),
            },
            result => result.map(drop),
        }
    }

    async fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reset(&mut self) {}

    fn undeliverable(&mut self, cause: DialError) {
        self.socket.undeliverable(cause);
    }
}

/// Errors that concern one datagram only: ICMP answers, a full queue, one that is too large.
fn transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::PermissionDenied
    ) || error.raw_os_error() == Some(libc::EMSGSIZE)
}
