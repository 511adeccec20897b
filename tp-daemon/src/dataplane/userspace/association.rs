//! One UDP flow of an app, ended in user space: datagrams wait here for the relay, and leave as packets.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tp_core::flow::Flow;
use tp_core::udp_flows::{Full, Seen, UdpFlows};

use crate::dataplane::counts::Count;
use crate::dataplane::dump::FlowRow;
use crate::dataplane::maps::lock;
use crate::dataplane::shared::monotonic;
use crate::dataplane::userspace::fragments;
use crate::dataplane::userspace::parse::About;
use crate::dataplane::userspace::shared::Shared;

/// Datagrams of one flow that wait for the relay: as many bytes as a socket's buffer holds (net.core.rmem_default).
const MAX_WAITING: usize = 212_992;
/// What a datagram costs beside its bytes.
const OVERHEAD: usize = 64;
/// The largest payload: as in IPv4, with which IPv6 shares the tunnel.
const MAX_PAYLOAD: usize = 65_507;
const UDP_CHECKSUM: u8 = 6;
const HOP_LIMIT: u8 = 64;

/// All of them.
pub(super) struct UdpTable {
    flows: UdpFlows,
    associations: HashMap<Flow, Arc<Association>>,
}

pub(super) struct Association {
    pub(super) flow: Flow,
    shared: Arc<Shared>,
    state: Mutex<State>,
    readable: Notify,
    ended: CancellationToken,
    id: AtomicU32,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// What the app's kernel said about a datagram of ours.
    error: Option<io::ErrorKind>,
    /// The largest packet that a router on the way to the app lets through, or the TUN without offloads. Larger ones are
    /// split here.
    mtu: Option<u32>,
    last: Duration,
    answered: bool,
    to_cluster: (u64, u64),
    to_app: (u64, u64),
}

impl UdpTable {
    pub(super) fn new(flows: UdpFlows) -> Self {
        Self { flows, associations: HashMap::new() }
    }

    pub(super) fn get(&self, flow: &Flow) -> Option<Arc<Association>> {
        self.associations.get(flow).cloned()
    }

    pub(super) fn insert(&mut self, association: &Arc<Association>) -> Result<(), Full> {
        self.flows.insert(association.flow, monotonic())?;
        self.associations.insert(association.flow, Arc::clone(association));
        Ok(())
    }

    fn remove(&mut self, association: &Association) {
        let known = self.associations.get(&association.flow);
        if known.is_some_and(|known| std::ptr::eq(Arc::as_ptr(known), association)) {
            self.associations.remove(&association.flow);
            self.flows.remove(&association.flow);
        }
    }

    /// Ends those that have been idle for too long; how many.
    pub(super) fn expire(&mut self, now: Duration) -> usize {
        let Self { flows, associations } = self;
        let over = flows.expire(now, |flow| associations.get(flow).map(|association| association.seen()));
        for flow in &over {
            if let Some(association) = associations.remove(flow) {
                association.ended.cancel();
            }
        }
        over.len()
    }

    pub(super) fn rows(&self) -> Vec<FlowRow> {
        let now = monotonic();
        self.associations.values().map(|association| association.row(now)).collect()
    }
}

impl Association {
    pub(super) fn new(shared: &Arc<Shared>, flow: Flow) -> Arc<Self> {
        let segments = shared.wire.segments();
        let mtu = (!segments.offloads).then_some(segments.mtu);
        let state = State { last: monotonic(), mtu, ..State::default() };
        Arc::new(Self {
            flow,
            shared: Arc::clone(shared),
            state: Mutex::new(state),
            readable: Notify::new(),
            ended: CancellationToken::new(),
            id: AtomicU32::new(1),
        })
    }

    /// A datagram of the app's.
    pub(super) fn receive(&self, payload: &[u8]) {
        let mut state = lock(&self.state);
        state.last = monotonic();
        state.to_cluster = (state.to_cluster.0 + 1, state.to_cluster.1 + payload.len() as u64);
        if state.bytes + payload.len() + OVERHEAD > MAX_WAITING {
            return self.shared.counts().up(Count::DatagramsUnread);
        }
        state.bytes += payload.len() + OVERHEAD;
        state.waiting.push_back(payload.to_vec());
        drop(state);
        self.readable.notify_one();
    }

    /// What became of a datagram of ours.
    pub(super) fn hear(&self, about: About) {
        let mut state = lock(&self.state);
        match about {
            About::Port => state.error = Some(io::ErrorKind::ConnectionRefused),
            About::TooLarge(mtu) if mtu >= 576 => {
                state.mtu = Some(state.mtu.map_or(mtu, |known| known.min(mtu)));
            }
            About::TooLarge(_) | About::Other => return,
        }
        drop(state);
        self.readable.notify_one();
    }

    /// Until there is a datagram or an error to be taken, or none will come any more.
    pub(super) async fn readable(&self) {
        loop {
            let notified = self.readable.notified();
            let something = {
                let state = lock(&self.state);
                !state.waiting.is_empty() || state.error.is_some()
            };
            if something {
                return;
            }
            tokio::select! {
                () = notified => {}
                () = self.ended.cancelled() => return,
            }
        }
    }

    /// The app's next datagram, cut to `buf`; `None` when the flow is over.
    pub(super) async fn recv(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            self.readable().await;
            let mut state = lock(&self.state);
            if let Some(error) = state.error.take() {
                return Err(error.into());
            }
            if let Some(datagram) = state.waiting.pop_front() {
                state.bytes -= datagram.len() + OVERHEAD;
                let len = datagram.len().min(buf.len());
                buf[..len].copy_from_slice(&datagram[..len]);
                return Ok(Some(len));
            }
            if self.ended.is_cancelled() {
                return Ok(None);
            }
        }
    }

    /// One datagram to the app, from the address that the app knows.
    pub(super) fn send(&self, payload: &[u8]) -> io::Result<()> {
        if payload.len() > MAX_PAYLOAD {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        let mtu = {
            let mut state = lock(&self.state);
            if let Some(error) = state.error.take() {
                return Err(error.into());
            }
            state.last = monotonic();
            state.answered = true;
            state.to_app = (state.to_app.0 + 1, state.to_app.1 + payload.len() as u64);
            state.mtu
        };
        let id = self.id.fetch_add(1, Ordering::Relaxed);
        let (from, to) = (self.flow.dest.0, self.flow.app.0);
        let len = header_len(from) + 8 + payload.len();
        let (wire, too_large) = (&self.shared.wire, mtu.filter(|mtu| len > *mtu as usize));
        if too_large.is_none() && wire.segments().offloads {
            wire.write_unsummed(len, UDP_CHECKSUM, |packet| fill(packet, from, to, id, payload));
            return Ok(());
        }
        let mut packet = vec![0; len];
        fill(&mut packet, from, to, id, payload);
        sum(&mut packet);
        match too_large {
            Some(mtu) => fragments::split(&packet, mtu as usize, id).iter().for_each(|part| wire.write(part)),
            None => wire.write(&packet),
        }
        Ok(())
    }

    /// The relay has let go.
    pub(super) fn let_go(&self) {
        lock(&self.shared.udp).remove(self);
        self.shared.guard.opened(&self.flow); // unless it was established
    }

    fn seen(&self) -> Seen {
        let state = lock(&self.state);
        Seen { last: state.last, answered: state.answered }
    }

    fn row(&self, now: Duration) -> FlowRow {
        let state = lock(&self.state);
        // with their headers, as the kernel programs count
        let headers = header_len(self.flow.dest.0) as u64 + 8;
        FlowRow {
            proto: "udp",
            app: self.flow.app.0,
            dest: self.flow.dest.0,
            state: if state.answered { "answered" } else { "unanswered" },
            packets_to_cluster: state.to_cluster.0,
            bytes_to_cluster: state.to_cluster.1 + state.to_cluster.0 * headers,
            packets_to_app: state.to_app.0,
            bytes_to_app: state.to_app.1 + state.to_app.0 * headers,
            idle_ms: u64::try_from(now.saturating_sub(state.last).as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn header_len(from: SocketAddr) -> usize {
    if from.is_ipv4() { 20 } else { 40 }
}

/// All but the UDP checksum. IPv4 may be split on its way.
fn fill(packet: &mut [u8], from: SocketAddr, to: SocketAddr, id: u32, payload: &[u8]) {
    let header = header_len(from);
    let be = |len: usize| u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    let (ip, udp) = packet.split_at_mut(header);
    ip.fill(0);
    match (from.ip(), to.ip()) {
        (std::net::IpAddr::V4(from), std::net::IpAddr::V4(to)) => {
            ip[0] = 0x45;
            ip[2..4].copy_from_slice(&be(header + udp.len()));
            ip[4..6].copy_from_slice(&id.to_be_bytes()[2..]);
            (ip[8], ip[9]) = (HOP_LIMIT, 17);
            ip[12..16].copy_from_slice(&from.octets());
            ip[16..20].copy_from_slice(&to.octets());
            let sum = crate::dataplane::answer::checksum([&ip.to_vec()]);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (from, to) => {
            ip[0] = 0x60;
            ip[4..6].copy_from_slice(&be(udp.len()));
            (ip[6], ip[7]) = (17, HOP_LIMIT);
            ip[8..24].copy_from_slice(&tp_core::addr::mapped(from).octets());
            ip[24..40].copy_from_slice(&tp_core::addr::mapped(to).octets());
        }
    }
    udp[0..2].copy_from_slice(&from.port().to_be_bytes());
    udp[2..4].copy_from_slice(&to.port().to_be_bytes());
    udp[4..6].copy_from_slice(&be(8 + payload.len()));
    udp[6..8].fill(0);
    udp[8..].copy_from_slice(payload);
}

/// The UDP checksum of a packet that no kernel completes: one that is going to be split, or any without offloads.
fn sum(packet: &mut [u8]) {
    let header = if packet[0] >> 4 == 4 { 20 } else { 40 };
    let addresses = if header == 20 { 12..20 } else { 8..40 };
    let len = u32::try_from(packet.len() - header).unwrap_or(0).to_be_bytes();
    let pseudo = [&packet[addresses], &len, &[0, 17]].concat();
    let sum = match crate::dataplane::answer::checksum([&pseudo, &packet[header..].to_vec()]) {
        0 => 0xffff, // zero would mean that there is none
        sum => sum,
    };
    packet[header + 6..header + 8].copy_from_slice(&sum.to_be_bytes());
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Association({})", self.flow)
    }
}
