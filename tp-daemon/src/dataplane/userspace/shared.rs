//! What the tasks and holders of the userspace dataplane share.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use ring::rand::SystemRandom;
use smoltcp::time::Instant as StackInstant;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tp_core::addr::ClusterAddr;
use tp_core::dial::{Answer, DialError};
use tp_core::flow::{Flow, Proto};
use tp_core::udp_flows::UdpFlows;
use tp_core::vips::Change;

use crate::dataplane::Arrival;
use crate::dataplane::answer;
use crate::dataplane::counts::{Count, Counts};
use crate::dataplane::held::{Held, Id};
use crate::dataplane::maps::lock;
use crate::dataplane::shared::monotonic;
use crate::dataplane::tun::VNET_HDR;
use crate::dataplane::userspace::association::UdpTable;
use crate::dataplane::userspace::connection::{Connection, stack_time};
use crate::dataplane::userspace::fragments::Fragments;
use crate::dataplane::userspace::guard::Guard;
use crate::dataplane::userspace::memory::Budget;
use crate::dataplane::userspace::timers::Timers;
use crate::dataplane::userspace::wire::Wire;

pub(super) struct Shared {
    pub(super) wire: Wire,
    pub(super) held: Mutex<Held>,
    pub(super) tcp: Mutex<HashMap<Flow, Arc<Connection>>>,
    pub(super) udp: Mutex<UdpTable>,
    pub(super) fragments: Mutex<Fragments>,
    pub(super) guard: Guard,
    pub(super) vips: RwLock<HashMap<IpAddr, IpAddr>>,
    pub(super) arrivals: mpsc::Sender<Arrival>,
    pub(super) timers: Timers,
    pub(super) budget: Arc<Budget>,
    /// Cancelled when somebody has deleted the TUN.
    pub(super) dead: CancellationToken,
    random: SystemRandom,
    since: Instant,
}

impl Shared {
    pub(super) fn new(wire: Wire, udp: UdpFlows, arrivals: mpsc::Sender<Arrival>) -> Arc<Self> {
        Arc::new(Self {
            wire,
            held: Mutex::default(),
            tcp: Mutex::default(),
            udp: Mutex::new(UdpTable::new(udp)),
            fragments: Mutex::default(),
            guard: Guard::default(),
            vips: RwLock::default(),
            arrivals,
            timers: Timers::default(),
            budget: Arc::new(Budget::new()),
            dead: CancellationToken::new(),
            random: SystemRandom::new(),
            since: Instant::now(),
        })
    }

    pub(super) fn counts(&self) -> &Counts {
        self.wire.counts()
    }

    pub(super) fn stack_time(&self) -> StackInstant {
        stack_time(self.since)
    }

    pub(super) fn instant(&self, at: StackInstant) -> Instant {
        self.since + std::time::Duration::from_micros(u64::try_from(at.total_micros()).unwrap_or(0))
    }

    /// For sequence numbers, which nobody shall guess.
    pub(super) fn random(&self) -> io::Result<u64> {
        let bytes: [u8; 8] = ring::rand::generate(&self.random)
            .map_err(|_| io::Error::other("no random number for a connection"))?
            .expose();
        Ok(u64::from_ne_bytes(bytes))
    }

    /// What a VIP stands for, any other address as it is. Packets need no rewriting here: the answers come from the
    /// address that the app knows.
    pub(super) fn cluster_address(&self, flow: &Flow) -> ClusterAddr {
        let vips = self.vips.read().unwrap_or_else(PoisonError::into_inner);
        let inside = vips.get(&flow.dest.ip()).copied().unwrap_or(flow.dest.ip());
        ClusterAddr::new(inside, flow.dest.port())
    }

    pub(super) fn change_vips(&self, changes: &[Change]) {
        let mut vips = self.vips.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            match *change {
                Change::Add { vip, inside } if vip != inside => drop(vips.insert(vip, inside)),
                Change::Add { vip, .. } | Change::Remove { vip } => drop(vips.remove(&vip)),
            }
        }
    }

    pub(super) fn connection(&self, flow: &Flow) -> Option<Arc<Connection>> {
        lock(&self.tcp).get(flow).cloned()
    }

    #[cfg(test)]
    pub(super) fn any_flow(&self) -> Option<Flow> {
        lock(&self.tcp).keys().next().copied()
    }

    /// Whether the flow has been admitted and lives.
    pub(super) fn is_known(&self, flow: &Flow) -> bool {
        match flow.proto {
            Proto::Tcp => lock(&self.tcp).contains_key(flow),
            Proto::Udp => lock(&self.udp).get(flow).is_some(),
        }
    }

    /// A connection has come to its end; its 5-tuple may be in use again already.
    pub(super) fn closed(&self, connection: &Arc<Connection>) {
        let mut tcp = lock(&self.tcp);
        if tcp.get(&connection.flow).is_some_and(|known| Arc::ptr_eq(known, connection)) {
            tcp.remove(&connection.flow);
        }
    }

    /// Tells the app why not.
    pub(super) fn refuse(&self, flow: &Flow, id: Id, cause: DialError) {
        let answered = (cause.answer() != Answer::Silence).then(Instant::now);
        let Some(packets) = lock(&self.held).refuse(flow, id, answered) else { return };
        let Some(packet) = packets.first() else { return };
        self.guard.opened(flow); // before the app hears: it may try again at once
        match answer::refusal(packet.get(VNET_HDR..).unwrap_or_default(), cause) {
            Some(answer) => {
                self.counts().up(Count::Refused);
                self.wire.write(&answer);
            }
            None => self.counts().up(Count::Silent),
        }
    }

    /// Once a second: ends what is over.
    pub(super) fn sweep(&self) {
        for _ in 0..lock(&self.held).expire(Instant::now()) {
            self.counts().up(Count::HeldTooLong);
        }
        lock(&self.fragments).expire(Instant::now());
        for _ in 0..lock(&self.udp).expire(monotonic()) {
            self.counts().up(Count::UdpExpired);
        }
    }
}
