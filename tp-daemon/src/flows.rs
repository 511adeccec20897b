//! From a held SYN or datagram to a tunnel stream and back: dial first, admit or refuse after.

mod app;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tp_core::addr::ClusterAddr;
use tp_core::dial::DialError;
use tp_core::flow::Flow;
use tp_core::routing;
use tp_core::tunnel::ConnId;
use tp_proto::client::{Dial, OpenError, Slot, Tunnels};
use tp_proto::relay::{Datagrams, TcpReader, TcpWriter, relay};
use tp_proto::stream::TunnelStream;

use crate::dataplane::{AppStream, Arrival, Dataplane, HeldConnect, HeldDatagram};
use crate::exits::Exits;
use crate::virtual_addresses::{Destination, InUse, VirtualAddresses};

/// The way to the far end while there is one.
#[derive(Clone, Debug)]
pub struct Exit {
    pub tunnels: Tunnels,
    pub session: String,
}

/// Carries flows for as long as the daemon is connected.
#[derive(Clone)]
pub struct Flows(Arc<Inner>);

struct Inner {
    ways: Ways,
    tcp: AtomicU64,
    udp: AtomicU64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Where flows go.
#[derive(Debug)]
pub struct Ways {
    /// Follows the session.
    pub manager: watch::Receiver<Option<Exit>>,
    /// Hears when the manager answers that it does not know our session.
    pub session_unknown: mpsc::Sender<()>,
    pub exits: Exits,
    pub addresses: VirtualAddresses,
    /// How long the far end may try to connect, and the bound of the way there and back.
    pub dial_timeout: Duration,
    pub roundtrip: Duration,
}

impl Flows {
    pub fn new(ways: Ways) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Self(Arc::new(Inner { ways, tcp: AtomicU64::new(0), udp: AtomicU64::new(0), tasks, stop }))
    }

    /// Open TCP and UDP flows.
    pub fn counts(&self) -> (u64, u64) {
        (self.0.tcp.load(Ordering::Relaxed), self.0.udp.load(Ordering::Relaxed))
    }

    /// Takes flows from the dataplane until it shuts down or [`Flows::stop`] is called.
    pub async fn serve(&self, dataplane: impl Dataplane) {
        loop {
            let arrival = tokio::select! {
                arrival = dataplane.next() => arrival,
                () = self.0.stop.cancelled() => None,
            };
            let Some(arrival) = arrival else { return };
            let inner = Arc::clone(&self.0);
            // the dataplane bounds how many wait for a verdict
            self.0.tasks.spawn(async move {
                let stop = inner.stop.clone();
                let flow = async {
                    match arrival {
                        Arrival::Tcp(held) => inner.tcp(held).await,
                        Arrival::Udp(held) => inner.udp(held).await,
                    }
                };
                tokio::select! {
                    () = flow => {}
                    () = stop.cancelled() => {}
                }
            });
        }
    }

    /// Ends every flow: the apps see their connections closed.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Inner {
    async fn tcp(&self, held: HeldConnect) {
        let flow = held.flow();
        let Opened { tunnel, _slot, _in_use } = match self.open(flow).await {
            Ok(opened) => opened,
            Err(cause) => return held.refuse(cause),
        };
        let stream = match held.admit().await {
            Ok(stream) => stream,
            // the app gave up while we dialled; the tunnel stream ends with the drop
            Err(error) => return tracing::debug!(%flow, %error, "not admitted"),
        };
        let _gauge = Gauge::new(&self.tcp);
        let report = match stream {
            AppStream::Kernel(stream) => {
                let (read, write) = stream.into_split();
                relay(TcpReader::new(read), TcpWriter::new(write), tunnel).await
            }
            AppStream::Userspace(stream) => {
                let (read, write) = stream.into_split();
                relay(read, write, tunnel).await
            }
        };
        tracing::debug!(%flow, ?report, "flow ended");
    }

    async fn udp(&self, held: HeldDatagram) {
        let flow = held.flow();
        let Opened { tunnel, _slot, _in_use } = match self.open(flow).await {
            Ok(opened) => opened,
            Err(cause) => return held.refuse(cause),
        };
        let socket = match held.admit().await {
            Ok(socket) => socket,
            Err(error) => return tracing::debug!(%flow, %error, "not admitted"),
        };
        let _gauge = Gauge::new(&self.udp);
        let (reader, writer) = Datagrams::halves(socket, None);
        let report = relay(reader, writer, tunnel).await;
        tracing::debug!(%flow, ?report, "flow ended");
    }

    async fn open(&self, flow: Flow) -> Result<Opened, DialError> {
        let ways = &self.ways;
        let (cluster, exit, in_use) = match ways.addresses.destination(flow.dest) {
            Destination::Plain => (ClusterAddr(flow.dest.0), routing::Exit::Manager, None),
            Destination::Virtual { cluster, exit, in_use } => (cluster, exit, Some(in_use)),
            Destination::Vacant => return Err(DialError::HostUnreachable),
        };
        let tunnels = ways.exits.tunnels(&exit).map_err(|error| {
            tracing::debug!(%flow, %error, "no way out");
            error.for_app()
        })?;
        // no session: the manager is away. Silence makes the kernel send the SYN again later.
        let session = ways.manager.borrow().as_ref().map(|exit| exit.session.clone());
        let session = session.ok_or(DialError::TimedOut)?;
        let id = ConnId { source: flow.app, destination: cluster, proto: flow.proto };
        let dial = Dial { id, session, timeout: ways.dial_timeout, roundtrip: ways.roundtrip };
        match tunnels.open(dial).await {
            Ok((tunnel, slot)) => Ok(Opened { tunnel, _slot: slot, _in_use: in_use }),
            Err(error) => {
                tracing::debug!(%flow, %exit, %error, "dial failed");
                if matches!(error, OpenError::SessionLost) && exit == routing::Exit::Manager {
                    // full: it is known already
                    let _ = ways.session_unknown.try_send(());
                }
                Err(error.for_app())
            }
        }
    }
}

/// A tunnel stream, and what must live as long as the flow.
struct Opened {
    tunnel: TunnelStream,
    _slot: Slot,
    _in_use: Option<InUse>,
}

/// Counts one open flow.
struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Flows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flows").field("counts", &self.counts()).finish_non_exhaustive()
    }
}
