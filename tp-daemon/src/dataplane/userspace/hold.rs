//! Held SYNs and datagrams: an admitted one starts a flow in user space, with the very packet that was held.

use std::io;
use std::sync::Arc;

use tp_core::dial::DialError;
use tp_core::flow::Flow;
use tp_core::udp_flows::Full;

use crate::dataplane::counts::Count;
use crate::dataplane::held::Id;
use crate::dataplane::maps::lock;
use crate::dataplane::tcp::HANDSHAKE;
use crate::dataplane::tun::VNET_HDR;
use crate::dataplane::userspace::association::Association;
use crate::dataplane::userspace::connection::Connection;
use crate::dataplane::userspace::parse::{self, Packet};
use crate::dataplane::userspace::shared::Shared;
use crate::dataplane::userspace::stream::{Datagrams, Stream};
use crate::dataplane::{AppSocket, AppStream, Hold, Pending, Undeliverable, answer};

pub(super) struct HeldFlow {
    pub(super) shared: Arc<Shared>,
    pub(super) flow: Flow,
    pub(super) id: Id,
}

impl Hold<AppStream> for HeldFlow {
    fn admit(self: Box<Self>) -> Pending<AppStream> {
        Box::pin(self.connect())
    }

    fn refuse(self: Box<Self>, cause: DialError) {
        self.shared.refuse(&self.flow, self.id, cause);
    }
}

impl Hold<AppSocket> for HeldFlow {
    fn admit(self: Box<Self>) -> Pending<AppSocket> {
        Box::pin(async move { self.associate() })
    }

    fn refuse(self: Box<Self>, cause: DialError) {
        self.shared.refuse(&self.flow, self.id, cause);
    }
}

impl HeldFlow {
    async fn connect(self: Box<Self>) -> io::Result<AppStream> {
        let Self { shared, flow, id } = &*self;
        let packets = lock(&shared.held).admit(flow, *id);
        let packet = packets.as_deref().and_then(<[_]>::first).and_then(|raw| raw.get(VNET_HDR..));
        let Some((packet, Packet::Tcp { segment, .. })) = packet.map(|packet| (packet, parse::read(packet)))
        else {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the app has given up"));
        };
        let connection = match Connection::new(shared, *flow, segment.seq) {
            Ok(connection) => connection,
            Err(error) => {
                lock(&shared.held).forget(flow, *id);
                if let Some(reset) = answer::refusal(packet, DialError::Refused) {
                    shared.wire.write(&reset);
                }
                return Err(error);
            }
        };
        {
            // in one step: a copy of the SYN finds one or the other
            let mut held = lock(&shared.held);
            lock(&shared.tcp).insert(*flow, Arc::clone(&connection));
            held.forget(flow, *id);
        }
        connection.receive(packet, segment);
        let stream = Stream::new(connection);
        match tokio::time::timeout(HANDSHAKE, stream.established()).await {
            Ok(Ok(())) => {}
            _ => {
                shared.counts().up(Count::AppGone);
                shared.guard.opened(flow);
                stream.reset();
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the app did not complete the handshake",
                ));
            }
        }
        shared.guard.established(flow);
        shared.counts().up(Count::Admitted);
        Ok(AppStream::Userspace(stream))
    }

    fn associate(&self) -> io::Result<AppSocket> {
        let Self { shared, flow, id } = self;
        let association = Association::new(shared, *flow);
        let opened = self.open(&association);
        let packets = opened.inspect_err(|_| shared.refuse(flow, *id, DialError::Other))?;
        let datagrams = Datagrams::new(association);
        shared.guard.established(flow);
        shared.counts().up(Count::Admitted);
        Ok(AppSocket::userspace(datagrams, tell_later(shared, packets.first())))
    }

    /// Enters the flow, with the datagrams that waited before all later ones: those wait for this lock.
    fn open(&self, association: &Arc<Association>) -> io::Result<Vec<Vec<u8>>> {
        let mut held = lock(&self.shared.held);
        lock(&self.shared.udp).insert(association).map_err(|Full| {
            self.shared.counts().up(Count::UdpFull);
            io::Error::new(io::ErrorKind::QuotaExceeded, format!("{}: too many UDP flows", self.flow))
        })?;
        let Some(packets) = held.admit(&self.flow, self.id) else {
            association.let_go();
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the datagram waited for too long"));
        };
        held.forget(&self.flow, self.id);
        for raw in &packets {
            if let Packet::Udp { payload, .. } = parse::read(raw.get(VNET_HDR..).unwrap_or_default()) {
                association.receive(payload);
            }
        }
        Ok(packets)
    }
}

fn tell_later(shared: &Arc<Shared>, first: Option<&Vec<u8>>) -> Undeliverable {
    let shared = Arc::clone(shared);
    Undeliverable::about(first, move |answer| {
        shared.counts().up(Count::Refused);
        shared.wire.write(answer);
    })
}
