//! The daemon's ends of admitted flows: a stream or a socket, and what must happen when it is gone.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;
use tp_core::dial::DialError;
use tp_proto::relay::DatagramSocket;

use crate::dataplane::answer;
use crate::dataplane::tun::VNET_HDR;
use crate::dataplane::userspace::{Datagrams, Stream};

/// The daemon's end of an app's TCP connection. Shutting the write side down sends FIN, dropping it closes.
#[derive(Debug)]
pub enum AppStream {
    Kernel(KernelStream),
    Userspace(Stream),
}

/// A socket of the kernel's.
#[derive(Debug)]
pub struct KernelStream {
    stream: TcpStream,
    guard: Guard,
}

/// Runs a dataplane's clean-up when the last half of a stream or a socket is gone.
#[derive(Default)]
pub struct Guard(Option<Box<dyn FnOnce() + Send + Sync>>);

impl AppStream {
    /// For a dataplane: `guard` runs when the stream, both halves of it, is gone.
    pub fn new(stream: TcpStream, guard: Guard) -> Self {
        Self::Kernel(KernelStream { stream, guard })
    }

    /// Aborts: the app sees ECONNRESET.
    pub fn reset(self) {
        match self {
            Self::Kernel(KernelStream { stream, guard: _guard }) => reset(&stream),
            Self::Userspace(stream) => stream.reset(),
        }
    }
}

impl KernelStream {
    /// Both directions for two tasks. The guard goes with the write half; drop the halves together.
    pub fn into_split(self) -> (OwnedReadHalf, AppWriteHalf) {
        let (read, write) = self.stream.into_split();
        (read, AppWriteHalf { write, guard: self.guard })
    }
}

/// The write half of a [`KernelStream`].
#[derive(Debug)]
pub struct AppWriteHalf {
    write: OwnedWriteHalf,
    #[expect(dead_code, reason = "held for its Drop")]
    guard: Guard,
}

impl AppWriteHalf {
    /// Aborts both directions as soon as the read half is dropped too: the app sees ECONNRESET.
    pub fn reset(self) {
        reset(self.write.as_ref());
        self.write.forget();
    }
}

/// With a zero linger time, close(2) sends RST instead of FIN and drops what was not sent.
fn reset(stream: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)) {
        tracing::debug!(%error, "a connection could not be set to reset; it closes instead");
    }
}

/// The same call to whichever it is.
macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Kernel(KernelStream { stream, .. }) => {
                let $stream = Pin::new(stream);
                $call
            }
            Self::Userspace(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for AppStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for AppStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}

impl AsyncWrite for AppWriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.write.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(cx)
    }
}

/// The daemon's end of one UDP flow. Dropping it forgets the flow.
#[derive(Debug)]
pub struct AppSocket {
    end: End,
    undeliverable: Undeliverable,
}

#[derive(Debug)]
enum End {
    /// Connected to the app.
    Kernel {
        socket: UdpSocket,
        ended: CancellationToken,
        #[expect(dead_code, reason = "held for its Drop")]
        guard: Guard,
    },
    Userspace(Datagrams),
}

impl AppSocket {
    /// For a dataplane: `ended` is cancelled when the flow has been idle for too long.
    pub fn new(
        socket: UdpSocket,
        ended: CancellationToken,
        undeliverable: Undeliverable,
        guard: Guard,
    ) -> Self {
        Self { end: End::Kernel { socket, ended, guard }, undeliverable }
    }

    pub(super) fn userspace(datagrams: Datagrams, undeliverable: Undeliverable) -> Self {
        Self { end: End::Userspace(datagrams), undeliverable }
    }

    /// A datagram of the app was refused in the cluster: the app hears it as it would there. The flow goes on.
    pub fn undeliverable(&self, cause: DialError) {
        (self.undeliverable.0)(cause);
    }

    /// Completes when [`AppSocket::recv`] has something to say, so that an idle flow needs no buffer.
    pub async fn readable(&self) -> io::Result<()> {
        match &self.end {
            End::Kernel { socket, ended, .. } => tokio::select! {
                readable = DatagramSocket::readable(socket) => readable,
                () = ended.cancelled() => Ok(()),
            },
            End::Userspace(datagrams) => {
                datagrams.readable().await;
                Ok(())
            }
        }
    }

    /// The app's next datagram; `None` when the flow has been idle for too long and is over.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        match &self.end {
            End::Kernel { socket, ended, .. } => tokio::select! {
                received = socket.recv(buf) => received.map(Some),
                () = ended.cancelled() => Ok(None),
            },
            End::Userspace(datagrams) => datagrams.recv(buf).await,
        }
    }

    /// One datagram to the app. ECONNREFUSED: the app has closed its socket.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match &self.end {
            End::Kernel { socket, .. } => socket.send(datagram).await.map(drop),
            End::Userspace(datagrams) => datagrams.send(datagram),
        }
    }
}

/// Enough for any header and the ports behind it.
const QUOTE: usize = 128;

/// How a dataplane tells an app that a datagram of a running flow did not arrive.
pub struct Undeliverable(Box<dyn Fn(DialError) + Send + Sync>);

impl Undeliverable {
    pub fn new(tell: impl Fn(DialError) + Send + Sync + 'static) -> Self {
        Self(Box::new(tell))
    }

    /// By an ICMP message, which `say` sends. It quotes the datagram that it is about; the app's kernel looks at the 5-tuple
    /// only, so the first one of the flow, as it came out of the TUN, serves for all.
    pub(super) fn about(first: Option<&Vec<u8>>, say: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        let quote = first.and_then(|raw| raw.get(VNET_HDR..)).unwrap_or_default();
        let quote = quote[..quote.len().min(QUOTE)].to_vec();
        Self::new(move |cause| {
            if let Some(answer) = answer::refusal(&quote, cause) {
                say(&answer);
            }
        })
    }
}

impl fmt::Debug for Undeliverable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Undeliverable")
    }
}

impl Guard {
    pub fn new(clean_up: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(clean_up)))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(clean_up) = self.0.take() {
            clean_up();
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Guard(armed)" } else { "Guard(none)" })
    }
}
