//! The packet side of the daemon: what apps send into the cluster arrives here as held connects and datagrams.
//!
//! This file is the contract between the session and whatever moves the packets. The session decides (dial,
//! refuse), the dataplane executes: it never looks at what a flow carries.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tp_core::addr::{AppAddr, ClusterAddr};
use tp_core::dial::DialError;
use tp_core::flow::{Flow, Proto};

pub use dump::{MapDump, Rows};
pub use ebpf::EbpfDataplane;
pub use namespace::PAIR_HOST;
pub use setup::{Options, Prepared, SetupError, setup};
pub use tun::TUN_NAME;

pub mod answer;
mod counts;
pub mod dump;
mod ebpf;
mod held;
mod maps;
mod namespace;
mod nat;
mod netlink;
mod networks;
pub mod packet;
pub mod programs;
mod reader;
mod rows;
mod setup;
mod shared;
mod sys;
mod tcp;
mod tun;
mod udp;

/// A boxed future, so that [`HeldConnect`] and [`HeldDatagram`] need not know which dataplane made them.
pub type Pending<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// What a dataplane can do. Cheap to clone; all methods may be called while [`Dataplane::next`] waits.
pub trait Dataplane: Clone + Send + Sync + 'static {
    /// The next flow that wants a decision; `None` once the dataplane has shut down. The queue behind it is
    /// bounded: what does not fit is counted, and the app's kernel sends it again.
    fn next(&self) -> impl Future<Output = Option<Arrival>> + Send;

    /// Makes exactly these networks reachable through the TUN, adding and removing what differs. On an error the
    /// networks named in it are missing; the others are in place.
    fn set_networks(&self, networks: &[IpNet]) -> impl Future<Output = io::Result<()>> + Send;

    /// Makes exactly these virtual addresses stand for these cluster addresses (same family each).
    fn set_vips(&self, vips: &[Vip]) -> impl Future<Output = io::Result<()>> + Send;

    /// Interfaces behind which nodes of the cluster live (e.g. the bridge of a local cluster): a connect that was
    /// *forwarded* from there is refused, since it would come back through the tunnel for ever.
    fn set_node_side(&self, interfaces: &[u32]) -> io::Result<()>;

    /// The sockets of the DNS server, bound to the DNS addresses. They can be taken once.
    fn dns_sockets(&self) -> io::Result<DnsSockets>;

    /// The server an app asked before the hooks sent its query to us; `None` when it asked us directly.
    fn original_server(&self, app: AppAddr, proto: Proto) -> Option<SocketAddr>;

    /// From now on port 53 of every process of this network namespace, except the daemon's own sockets, is us.
    fn attach_dns_hooks(&self) -> io::Result<()>;

    /// Undoes [`Dataplane::attach_dns_hooks`].
    fn detach_dns_hooks(&self);

    /// Rows of one map, or of all of them, decoded. An unknown name is an error that lists the names.
    fn dump(&self, map: Option<&str>) -> io::Result<Vec<MapDump>>;

    /// Every counter that moved since the start, by name: exits of the kernel programs and of the TUN reader.
    fn counters(&self) -> Vec<(&'static str, u64)>;
}

/// What reaches the session.
#[derive(Debug)]
pub enum Arrival {
    /// A SYN; the app's `connect(2)` waits.
    Tcp(HeldConnect),
    /// The first datagram of an unknown UDP flow.
    Udp(HeldDatagram),
}

/// One virtual address and what it stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Vip {
    pub vip: IpAddr,
    pub cluster: IpAddr,
}

/// How a dataplane executes the verdict on a held packet. `refuse` is also what dropping the holder amounts to.
pub trait Hold<T>: Send {
    fn admit(self: Box<Self>) -> Pending<T>;
    fn refuse(self: Box<Self>, cause: DialError);
}

/// A connect of an app that waits for the far end's answer. Dropping it refuses with "host unreachable".
pub struct HeldConnect(Held<AppStream>);

/// A UDP flow whose first datagram waits. Dropping it refuses with "host unreachable".
pub struct HeldDatagram(Held<AppSocket>);

struct Held<T> {
    flow: Flow,
    cluster: ClusterAddr,
    hold: Option<Box<dyn Hold<T>>>,
}

impl<T> Held<T> {
    fn admit(mut self) -> Pending<T> {
        match self.hold.take() {
            Some(hold) => hold.admit(),
            None => Box::pin(async { Err(io::ErrorKind::NotConnected.into()) }),
        }
    }

    fn refuse(&mut self, cause: DialError) {
        if let Some(hold) = self.hold.take() {
            hold.refuse(cause);
        }
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.refuse(DialError::HostUnreachable);
    }
}

macro_rules! held {
    ($name:ident, $stream:ty, $admitted:literal) => {
        impl $name {
            /// For a dataplane: wraps the packet it holds.
            pub fn new(flow: Flow, cluster: ClusterAddr, hold: Box<dyn Hold<$stream>>) -> Self {
                Self(Held { flow, cluster, hold: Some(hold) })
            }

            /// The 5-tuple as the app sees it.
            pub fn flow(&self) -> Flow {
                self.0.flow
            }

            /// What to dial: the destination, or what it stands for when it is a VIP.
            pub fn cluster(&self) -> ClusterAddr {
                self.0.cluster
            }

            #[doc = $admitted]
            pub async fn admit(self) -> io::Result<$stream> {
                self.0.admit().await
            }

            /// Tells the app what its `connect(2)` or next `send(2)` fails with.
            pub fn refuse(mut self, cause: DialError) {
                self.0.refuse(cause);
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.flow)
            }
        }
    };
}

held!(HeldConnect, AppStream, "The far end answered: completes the app's handshake.");
held!(
    HeldDatagram,
    AppSocket,
    "The far end is ready: this datagram and all later ones come out of the socket."
);

/// The daemon's end of an app's TCP connection. Shutting the write side down sends FIN, dropping it closes.
#[derive(Debug)]
pub struct AppStream {
    stream: TcpStream,
    guard: Guard,
}

/// Runs a dataplane's clean-up when the last half of a stream or a socket is gone.
#[derive(Default)]
pub struct Guard(Option<Box<dyn FnOnce() + Send + Sync>>);

impl AppStream {
    /// For a dataplane: `guard` runs when the stream, both halves of it, is gone.
    pub fn new(stream: TcpStream, guard: Guard) -> Self {
        Self { stream, guard }
    }

    /// Both directions for two tasks. The guard goes with the write half; drop the halves together.
    pub fn into_split(self) -> (OwnedReadHalf, AppWriteHalf) {
        let (read, write) = self.stream.into_split();
        (read, AppWriteHalf { write, guard: self.guard })
    }

    /// Aborts: the app sees ECONNRESET.
    pub fn reset(self) {
        reset(&self.stream);
    }
}

/// The write half of an [`AppStream`].
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

impl AsyncRead for AppStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

macro_rules! async_write {
    ($name:ident, $field:ident) => {
        impl AsyncWrite for $name {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.$field).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.$field).poll_write_vectored(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                self.$field.is_write_vectored()
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$field).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.$field).poll_shutdown(cx)
            }
        }
    };
}

async_write!(AppStream, stream);
async_write!(AppWriteHalf, write);

/// The daemon's end of one UDP flow: a socket connected to the app. Dropping it forgets the flow.
#[derive(Debug)]
pub struct AppSocket {
    socket: UdpSocket,
    ended: tokio_util::sync::CancellationToken,
    undeliverable: Undeliverable,
    #[expect(dead_code, reason = "held for its Drop")]
    guard: Guard,
}

impl AppSocket {
    /// For a dataplane: `ended` is cancelled when the flow has been idle for too long.
    pub fn new(
        socket: UdpSocket,
        ended: tokio_util::sync::CancellationToken,
        undeliverable: Undeliverable,
        guard: Guard,
    ) -> Self {
        Self { socket, ended, undeliverable, guard }
    }

    /// A datagram of the app was refused in the cluster: the app hears it as it would there. The flow goes on.
    pub fn undeliverable(&self, cause: DialError) {
        (self.undeliverable.0)(cause);
    }

    /// The app's next datagram; `None` when the flow has been idle for too long and is over.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        tokio::select! {
            received = self.socket.recv(buf) => received.map(Some),
            () = self.ended.cancelled() => Ok(None),
        }
    }

    /// One datagram to the app. ECONNREFUSED: the app has closed its socket.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        self.socket.send(datagram).await.map(drop)
    }
}

/// How a dataplane tells an app that a datagram of a running flow did not arrive.
pub struct Undeliverable(Box<dyn Fn(DialError) + Send + Sync>);

impl Undeliverable {
    pub fn new(tell: impl Fn(DialError) + Send + Sync + 'static) -> Self {
        Self(Box::new(tell))
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

/// Port 53 of the DNS addresses, UDP and TCP; one of each per address family in use.
#[derive(Debug)]
pub struct DnsSockets {
    pub udp: Vec<UdpSocket>,
    pub tcp: Vec<TcpListener>,
}
