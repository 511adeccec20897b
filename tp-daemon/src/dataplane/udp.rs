//! Held datagrams: an admitted flow gets a connected socket in the private namespace, and the kernel lets it cross.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tp_core::addr::ClusterAddr;
use tp_core::dial::DialError;
use tp_core::flow::Flow;
use tp_core::udp_flows::Full;

use crate::dataplane::counts::Count;
use crate::dataplane::held::Id;
use crate::dataplane::maps::lock;
use crate::dataplane::shared::{Shared, Started, monotonic, monotonic_ns};
use crate::dataplane::{AppSocket, Guard, Hold, Pending, Undeliverable};

pub(super) struct HeldFirst {
    pub(super) shared: Arc<Shared>,
    pub(super) flow: Flow,
    pub(super) id: Id,
}

impl Hold<AppSocket> for HeldFirst {
    fn admit(self: Box<Self>) -> Pending<AppSocket> {
        Box::pin(self.finish())
    }

    fn refuse(self: Box<Self>, cause: DialError) {
        self.shared.refuse(&self.flow, self.id, cause);
    }
}

impl HeldFirst {
    async fn finish(self: Box<Self>) -> io::Result<AppSocket> {
        let shared = &self.shared;
        let opened = self.open().await;
        let (socket, ended, guard) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                shared.refuse(&self.flow, self.id, DialError::Other);
                return Err(error);
            }
        };
        let Some(packets) = lock(&shared.held).admit(&self.flow, self.id) else {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the datagram waited for too long"));
        };
        for packet in &packets {
            shared.tun.write_back(packet).await?;
        }
        shared.maps.block.established(&self.flow);
        shared.counts.up(Count::Admitted);
        Ok(AppSocket::new(socket, ended, tell_later(shared, packets.first()), guard))
    }

    async fn open(&self) -> io::Result<(UdpSocket, CancellationToken, Guard)> {
        let shared = &self.shared;
        let ended = CancellationToken::new();
        {
            let mut udp = lock(&shared.udp);
            udp.flows.insert(self.flow, monotonic()).map_err(|Full| {
                shared.counts.up(Count::UdpFull);
                io::Error::new(io::ErrorKind::QuotaExceeded, format!("{}: too many UDP flows", self.flow))
            })?;
            udp.ended.insert(self.flow, ended.clone());
        }
        let started = match shared.start(self.flow, self.id) {
            Ok(started) => started,
            Err(error) => {
                let mut udp = lock(&shared.udp);
                udp.flows.remove(&self.flow);
                udp.ended.remove(&self.flow);
                return Err(error);
            }
        };
        // Whatever happens from here on, also if nobody polls this any more, ends what has been started.
        let guard = end_later(shared, started);
        match self.socket(started.cluster).await {
            Ok(socket) => Ok((socket, ended, guard)),
            Err(error) => {
                shared.refuse(&self.flow, self.id, DialError::Other); // before the guard forgets the packet
                Err(error)
            }
        }
    }

    async fn socket(&self, cluster: ClusterAddr) -> io::Result<UdpSocket> {
        let (here, app) = (cluster.0, self.flow.app.0);
        let socket = self.shared.namespace.run(move || connected(here, app)).await??;
        let socket = UdpSocket::from_std(socket)?;
        self.shared.maps.open_flow(&self.flow, monotonic_ns())?;
        Ok(socket)
    }
}

fn tell_later(shared: &Arc<Shared>, first: Option<&Vec<u8>>) -> Undeliverable {
    let shared = Arc::clone(shared);
    Undeliverable::about(first, move |answer| {
        shared.counts.up(Count::Refused);
        shared.answer(answer);
    })
}

fn end_later(shared: &Arc<Shared>, started: Started) -> Guard {
    let shared = Arc::clone(shared);
    Guard::new(move || shared.end(&started))
}

/// A socket with the cluster's address and port as its own: from there the normal look-up finds it by all four.
fn connected(here: SocketAddr, app: SocketAddr) -> io::Result<StdUdpSocket> {
    let socket = Socket::new(Domain::for_address(here), Type::DGRAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?; // other apps talk to the same address and port
    socket.bind(&here.into())?;
    socket.connect(&app.into())?;
    Ok(socket.into())
}
