//! The dataplane in user space, for kernels that do not let us load programs: packets are read from the TUN, and TCP and
//! UDP end in this process.
//!
//! It keeps the same promises as the one in the kernel, under the same contract, and every byte costs more.

mod asked;
mod association;
mod connection;
mod conntrack;
mod fragments;
mod guard;
mod hold;
mod memory;
mod no_room;
mod opening;
mod parse;
mod question;
mod reader;
mod rows;
mod segments;
mod setup;
mod shared;
mod stream;
#[cfg(test)]
mod tests;
mod timers;
mod wire;

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tp_common::dns::{DNS_PORT, IDENTIFY_PORT};
use tp_core::addr::AppAddr;
use tp_core::flow::Proto;
use tp_core::udp_flows::UdpFlows;
use tp_core::vips::Change;

use crate::dataplane::maps::lock;
use crate::dataplane::netlink::Netlink;
use crate::dataplane::networks::Networks;
use crate::dataplane::tasks::{every_second, spawn_until};
use crate::dataplane::{Arrival, Dataplane, DnsSockets, MapDump, Reach};
use setup::Hooks;
use shared::Shared;
use wire::Wire;

pub use segments::Segments;
pub(super) use setup::{Prepared, setup};
pub(super) use stream::Datagrams;
pub use stream::Stream;

/// Flows that may wait for the session to ask about them.
const QUEUE: usize = 1024;

/// Runs from [`Prepared::start`] until its last clone is dropped.
#[derive(Clone)]
pub struct UserspaceDataplane(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    networks: Networks,
    links: Vec<u32>,
    arrivals: AsyncMutex<mpsc::Receiver<Arrival>>,
    dns_sockets: Mutex<Option<DnsSockets>>,
    dns: Vec<SocketAddr>,
    hooks: Mutex<Hooks>,
    _stop: DropGuard,
}

impl Prepared {
    /// Starts moving packets. Call it inside the runtime, after the privileges have been dropped.
    pub(super) fn start(self) -> io::Result<UserspaceDataplane> {
        let (sender, arrivals) = mpsc::channel(QUEUE);
        let networks = Networks::new(Netlink::open()?, None, self.tun_index, self.sources);
        let shared = Shared::new(Wire::new(self.tun, self.segments)?, UdpFlows::new(self.udp), sender);
        let stop = CancellationToken::new();
        spawn_until(&stop, reader::read(Arc::clone(&shared)));
        spawn_until(&stop, {
            let shared = Arc::clone(&shared);
            async move { shared.timers.run().await }
        });
        spawn_until(&stop, {
            let shared = Arc::clone(&shared);
            every_second(move || shared.sweep())
        });
        let mut sockets = DnsSockets { udp: Vec::new(), tcp: Vec::new() };
        let mut dns = Vec::new();
        for (udp, tcp) in self.dns {
            dns.push(udp.local_addr()?);
            sockets.udp.push(UdpSocket::from_std(udp)?);
            sockets.tcp.push(TcpListener::from_std(tcp)?);
        }
        Ok(UserspaceDataplane(Arc::new(Inner {
            shared,
            networks,
            links: vec![self.tun_index],
            arrivals: AsyncMutex::new(arrivals),
            dns_sockets: Mutex::new(Some(sockets)),
            dns,
            hooks: Mutex::new(self.hooks),
            _stop: stop.drop_guard(),
        })))
    }
}

impl Dataplane for UserspaceDataplane {
    async fn next(&self) -> Option<Arrival> {
        tokio::select! {
            arrival = async { self.0.arrivals.lock().await.recv().await } => arrival,
            () = self.0.shared.dead.cancelled() => None,
        }
    }

    async fn set_reach(&self, reach: &Reach) -> io::Result<()> {
        self.0.networks.set(reach, |_| {}).await
    }

    fn change_vips(&self, changes: &[Change]) -> io::Result<()> {
        self.0.shared.change_vips(changes);
        Ok(())
    }

    fn set_recursion_block(&self, duration: Duration) -> io::Result<()> {
        self.0.shared.guard.set_block(duration);
        Ok(())
    }

    fn set_node_side(&self, interfaces: &[u32]) -> io::Result<()> {
        self.0.shared.guard.set_node_side(interfaces);
        Ok(())
    }

    fn links(&self) -> Vec<u32> {
        self.0.links.clone()
    }

    fn dns_sockets(&self) -> io::Result<DnsSockets> {
        lock(&self.0.dns_sockets)
            .take()
            .ok_or_else(|| io::Error::other("the DNS sockets have been taken already"))
    }

    fn original_server(&self, app: AppAddr, proto: Proto) -> Option<SocketAddr> {
        let server = self.0.dns.iter().find(|server| server.is_ipv4() == app.0.is_ipv4())?;
        let cookie = match asked::cookie(app.0, *server, proto) {
            Ok(cookie) => cookie,
            Err(error) => {
                tracing::debug!(%error, %app, "the kernel does not tell whose query this is");
                return None;
            }
        };
        lock(&self.0.hooks).original_server(cookie).filter(|server| server.port() == DNS_PORT)
    }

    fn attach_dns_hooks(&self) -> io::Result<()> {
        lock(&self.0.hooks).attach()?;
        // The hooks learn from this who we are; see `IDENTIFY_PORT`.
        let Some(dns) = self.0.dns.iter().find(|server| server.is_ipv4()) else { return Ok(()) };
        StdUdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?.connect((dns.ip(), IDENTIFY_PORT))
    }

    fn detach_dns_hooks(&self) {
        lock(&self.0.hooks).detach();
    }

    fn dump(&self, map: Option<&str>) -> io::Result<Vec<MapDump>> {
        rows::dump(&self.0.shared, map)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.0.shared.counts().moved()
    }
}

impl fmt::Debug for UserspaceDataplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserspaceDataplane")
    }
}
