//! The dataplane in the kernel, as the session sees it.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tp_common::dns::IDENTIFY_PORT;
use tp_core::addr::AppAddr;
use tp_core::flow::Proto;
use tp_core::udp_flows::UdpFlows;
use tp_core::vips::Change;

use crate::dataplane::maps::lock;
use crate::dataplane::netlink::Netlink;
use crate::dataplane::networks::Networks;
use crate::dataplane::programs::DnsHooks;
use crate::dataplane::setup::Prepared;
use crate::dataplane::shared::Shared;
use crate::dataplane::tasks::{every_second, spawn_until};
use crate::dataplane::tun::Tun;
use crate::dataplane::{Arrival, Dataplane, DnsSockets, MapDump, Reach, reader, rows, tcp};

/// Flows that may wait for the session to ask about them.
const QUEUE: usize = 1024;

/// Runs from [`Prepared::start`] until its last clone is dropped.
#[derive(Clone)]
pub struct EbpfDataplane(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    networks: Networks,
    links: Vec<u32>,
    arrivals: AsyncMutex<mpsc::Receiver<Arrival>>,
    dns_sockets: Mutex<Option<DnsSockets>>,
    dns_v4: Ipv4Addr,
    hooks: Mutex<DnsHooks>,
    _stop: DropGuard,
}

impl Prepared {
    /// Starts moving packets. Call it inside the runtime, after the privileges have been dropped.
    pub fn start(mut self) -> io::Result<EbpfDataplane> {
        let links = self.links();
        let (sender, arrivals) = mpsc::channel(QUEUE);
        let tun = Tun::new(self.tun)?;
        let networks =
            Networks::new(Netlink::open()?, Some(self.namespace.clone()), self.tun_index, self.sources);
        let shared = Shared::new(tun, self.maps, self.namespace, UdpFlows::new(self.udp), sender);
        let stop = CancellationToken::new();
        spawn_until(&stop, reader::read(Arc::clone(&shared)));
        for listener in self.listeners {
            spawn_until(&stop, tcp::accept(Arc::clone(&shared), TcpListener::from_std(listener)?));
        }
        spawn_until(&stop, {
            let shared = Arc::clone(&shared);
            every_second(move || shared.sweep())
        });
        if self.print_kernel_log {
            self.hooks.spawn_log(&stop)?;
        }
        let mut dns = DnsSockets { udp: Vec::new(), tcp: Vec::new() };
        for (udp, tcp) in self.dns {
            dns.udp.push(UdpSocket::from_std(udp)?);
            dns.tcp.push(TcpListener::from_std(tcp)?);
        }
        Ok(EbpfDataplane(Arc::new(Inner {
            shared,
            networks,
            links,
            arrivals: AsyncMutex::new(arrivals),
            dns_sockets: Mutex::new(Some(dns)),
            dns_v4: self.dns_v4,
            hooks: Mutex::new(self.hooks),
            _stop: stop.drop_guard(),
        })))
    }
}

impl Dataplane for EbpfDataplane {
    async fn next(&self) -> Option<Arrival> {
        tokio::select! {
            arrival = async { self.0.arrivals.lock().await.recv().await } => arrival,
            () = self.0.shared.dead.cancelled() => None,
        }
    }

    async fn set_reach(&self, reach: &Reach) -> io::Result<()> {
        self.0.networks.set(reach, |inside| self.0.shared.set_inside(inside)).await
    }

    fn change_vips(&self, changes: &[Change]) -> io::Result<()> {
        self.0.shared.change_vips(changes)
    }

    fn set_recursion_block(&self, duration: Duration) -> io::Result<()> {
        self.0.shared.maps.block.set(duration)
    }

    fn links(&self) -> Vec<u32> {
        self.0.links.clone()
    }

    fn set_node_side(&self, interfaces: &[u32]) -> io::Result<()> {
        self.0.shared.maps.set_node_side(interfaces)
    }

    fn dns_sockets(&self) -> io::Result<DnsSockets> {
        lock(&self.0.dns_sockets)
            .take()
            .ok_or_else(|| io::Error::other("the DNS sockets have been taken already"))
    }

    fn original_server(&self, app: AppAddr, proto: Proto) -> Option<SocketAddr> {
        self.0.shared.maps.original_server(app, proto)
    }

    fn attach_dns_hooks(&self) -> io::Result<()> {
        lock(&self.0.hooks).attach()?;
        // The hooks learn from this who we are; see `IDENTIFY_PORT`.
        StdUdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.connect((self.0.dns_v4, IDENTIFY_PORT))
    }

    fn detach_dns_hooks(&self) {
        lock(&self.0.hooks).detach();
    }

    fn dump(&self, map: Option<&str>) -> io::Result<Vec<MapDump>> {
        rows::dump(&self.0.shared.maps, map)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut counters = self.0.shared.maps.outcomes();
        counters.extend(self.0.shared.counts.moved());
        counters
    }
}

impl fmt::Debug for EbpfDataplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EbpfDataplane")
    }
}
