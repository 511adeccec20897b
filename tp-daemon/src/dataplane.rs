//! The packet side of the daemon: what apps send into the cluster arrives here as held connects and datagrams.
//!
//! This file is the contract between the session and whatever moves the packets. The session decides (dial,
//! refuse), the dataplane executes: it never looks at what a flow carries.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpListener, UdpSocket};
use tp_core::addr::{AppAddr, ClusterAddr};
use tp_core::dial::DialError;
use tp_core::flow::{Flow, Proto};
use tp_core::machine::MAIN;
use tp_core::routes::{Placed, Plan};
use tp_core::vips::Change;

pub use any::{AnyDataplane, AnyPrepared, Choice, prepare};
pub use dump::{MapDump, Rows};
pub use ebpf::EbpfDataplane;
#[doc(hidden)]
pub use echo::Echo;
pub use ends::{AppSocket, AppStream, AppWriteHalf, Guard, KernelStream, Undeliverable};
pub use namespace::PAIR_HOST;
pub use setup::{Options, Prepared, setup};
pub use tun::TUN_NAME;
pub use userspace::{Segments, Stream, UserspaceDataplane};

pub mod answer;
mod any;
mod counts;
pub mod dump;
mod ebpf;
mod echo;
mod ends;
mod held;
mod maps;
mod namespace;
mod nat;
mod netlink;
mod networks;
pub mod packet;
pub mod programs;
mod reader;
mod recursion;
mod rows;
mod setup;
mod shared;
mod sys;
mod tasks;
mod tcp;
mod tun;
mod udp;
mod userspace;
mod vips;

/// A boxed future, so that [`HeldConnect`] and [`HeldDatagram`] need not know which dataplane made them.
pub type Pending<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// What a dataplane can do. Cheap to clone; all methods may be called while [`Dataplane::next`] waits.
pub trait Dataplane: Clone + Send + Sync + 'static {
    /// The next flow that wants a decision; `None` once the dataplane has shut down. The queue behind it is
    /// bounded: what does not fit is counted, and the app's kernel sends it again.
    fn next(&self) -> impl Future<Output = Option<Arrival>> + Send;

    /// Makes exactly this reachable, adding and removing what differs. On an error the networks named in it are
    /// missing; the others are in place.
    fn set_reach(&self, reach: &Reach) -> impl Future<Output = io::Result<()>> + Send;

    /// Virtual addresses that come and go, in order. Cheap: names wait for it. A VIP whose address inside is not local
    /// there (see [`Reach`]) stays what it is inside.
    fn change_vips(&self, changes: &[Change]) -> io::Result<()>;

    /// `routing.recursionBlockDuration`: a flow to an IP:PORT closes it to others while it is held, and for that long
    /// after it was established. Zero is off.
    fn set_recursion_block(&self, duration: Duration) -> io::Result<()>;

    /// Interfaces behind which nodes of the cluster live (e.g. the bridge of a local cluster): a connect that was
    /// *forwarded* from there is refused, since it would come back through the tunnel for ever.
    fn set_node_side(&self, interfaces: &[u32]) -> io::Result<()>;

    /// The interfaces that are the dataplane's own on the host.
    fn links(&self) -> Vec<u32>;

    /// The sockets of the DNS server, bound to the DNS addresses. They can be taken once.
    fn dns_sockets(&self) -> io::Result<DnsSockets>;

    /// The server an app asked before the hooks sent its query to us; `None` when it asked us directly.
    fn original_server(&self, app: AppAddr, proto: Proto) -> Option<SocketAddr>;

    /// From now on port 53 of every process of this network namespace, except the daemon's own sockets, is us. An error
    /// of kind `Unsupported`: this dataplane does without, and names need another way.
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

/// What apps reach through the dataplane. A destination of a virtual subnet that no VIP was made for arrives like any
/// other flow: the session refuses it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    pub routed: Vec<Placed>,
    /// The pools of the VIPs, while there may be any.
    pub virtual_subnets: Vec<Placed>,
    /// Networks that are not routed, but whose addresses a VIP may stand for inside (see [`Change::Add`]).
    pub inside: Vec<IpNet>,
}

impl Reach {
    /// Only these networks, in the main table.
    pub fn networks(networks: &[IpNet]) -> Self {
        let placed = |network: &IpNet| Placed { network: *network, tables: vec![MAIN] };
        Self { routed: networks.iter().map(placed).collect(), ..Self::default() }
    }
}

impl From<&Plan> for Reach {
    fn from(plan: &Plan) -> Self {
        Self {
            routed: plan.routed.clone(),
            virtual_subnets: plan.virtual_subnets.clone(),
            inside: plan.inside.clone(),
        }
    }
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

            /// The destination as the private namespace knows it: that of [`Self::flow`] unless that is a VIP.
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

/// Port 53 of the DNS addresses, UDP and TCP; one of each per address family in use.
#[derive(Debug)]
pub struct DnsSockets {
    pub udp: Vec<UdpSocket>,
    pub tcp: Vec<TcpListener>,
}
