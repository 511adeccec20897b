//! What the tasks and holders of the dataplane share.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::time::{ClockId, clock_gettime};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tp_common::vip::NatKey;
use tp_core::addr::{AppAddr, ClusterAddr};
use tp_core::dial::{Answer, DialError};
use tp_core::flow::{Flow, Proto};
use tp_core::udp_flows::UdpFlows;
use tp_core::vips::Change;

use crate::dataplane::Arrival;
use crate::dataplane::answer;
use crate::dataplane::counts::{Count, Counts};
use crate::dataplane::held::{Held, Id};
use crate::dataplane::maps::{Maps, lock, nat_key};
use crate::dataplane::namespace::Namespace;
use crate::dataplane::nat::{self, Nat};
use crate::dataplane::tun::{Tun, VNET_HDR};
use crate::dataplane::vips::{Edit, VipTable};

pub(super) struct Shared {
    pub(super) tun: Tun,
    pub(super) maps: Maps,
    pub(super) counts: Counts,
    pub(super) namespace: Namespace,
    pub(super) held: Mutex<Held>,
    /// Admitted SYNs whose connection has not come out of the listener yet. More than one has the same ends when the
    /// app has reset a connection and uses its port again before we have accepted the first.
    pub(super) accepting: Mutex<HashMap<(AppAddr, ClusterAddr), VecDeque<Accepting>>>,
    pub(super) udp: Mutex<UdpTable>,
    nat: Mutex<Nat>,
    vips: RwLock<VipTable>,
    pub(super) arrivals: mpsc::Sender<Arrival>,
    /// Cancelled when somebody has deleted the TUN.
    pub(super) dead: CancellationToken,
}

pub(super) struct Accepting {
    pub(super) id: Id,
    pub(super) accepted: oneshot::Sender<TcpStream>,
}

pub(super) struct UdpTable {
    pub(super) flows: UdpFlows,
    /// Cancelled when a flow's time is up.
    pub(super) ended: HashMap<Flow, CancellationToken>,
}

/// A flow that has started; [`Shared::end`] it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Started {
    pub(super) flow: Flow,
    pub(super) id: Id,
    pub(super) cluster: ClusterAddr,
    through_vip: bool,
}

impl Shared {
    pub(super) fn new(
        tun: Tun,
        maps: Maps,
        namespace: Namespace,
        udp: UdpFlows,
        arrivals: mpsc::Sender<Arrival>,
    ) -> Arc<Self> {
        Arc::new(Self {
            tun,
            maps,
            counts: Counts::new(),
            namespace,
            held: Mutex::default(),
            accepting: Mutex::default(),
            udp: Mutex::new(UdpTable { flows: udp, ended: HashMap::new() }),
            nat: Mutex::default(),
            vips: RwLock::default(),
            arrivals,
            dead: CancellationToken::new(),
        })
    }

    /// The destination as the private namespace knows it.
    pub(super) fn cluster_address(&self, flow: &Flow) -> ClusterAddr {
        let vips = self.vips.read().unwrap_or_else(PoisonError::into_inner);
        ClusterAddr::new(vips.inside(flow.dest.ip()), flow.dest.port())
    }

    pub(super) fn change_vips(&self, changes: &[Change]) -> io::Result<()> {
        let _no_sweep = lock(&self.nat); // which ends the look-ups when it finds no VIP
        let mut vips = self.vips_mut();
        for change in changes {
            let Some(edit) = vips.change(*change) else { continue };
            if matches!(edit, Edit::Set(..)) {
                self.maps.look_for_vips(true)?;
            }
            if let (false, Edit::Set(vip, _)) = (self.maps.edit_vip(edit)?, edit) {
                tracing::debug!(%vip, "the kernel's table of VIPs is full: this one is not rewritten");
                vips.stays(vip);
            }
        }
        Ok(())
    }

    /// What is local in the private namespace has changed.
    pub(super) fn set_inside(&self, networks: Vec<IpNet>) {
        for edit in self.vips_mut().set_inside(networks) {
            if let Err(error) = self.maps.edit_vip(edit) {
                tracing::warn!(%error, "a VIP stands for an address that cannot be reached any more");
            }
        }
    }

    fn vips_mut(&self) -> RwLockWriteGuard<'_, VipTable> {
        self.vips.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a flow that is about to be admitted, so that its answers find the name the app knows.
    pub(super) fn start(&self, flow: Flow, id: Id) -> io::Result<Started> {
        // Now, and not when it arrived: the kernel rewrites by what stands in its map now.
        let cluster = self.cluster_address(&flow);
        let through_vip = flow.dest.ip() != cluster.ip();
        let key = nat_key(flow.app, cluster, flow.proto);
        let mut nat = lock(&self.nat);
        let change = nat.start(key, through_vip.then(|| flow.dest.ip())).map_err(|_| {
            self.counts.up(Count::NatConflict);
            io::Error::new(io::ErrorKind::AddrInUse, format!("{flow}: in use under another name"))
        })?;
        match change {
            nat::Change::None => {}
            nat::Change::Set(vip) => self.maps.set_nat(&key, vip)?,
            nat::Change::Remove => self.maps.remove_nat(&key),
        }
        Ok(Started { flow, id, cluster, through_vip })
    }

    /// The flow is over, or could not be admitted after all.
    pub(super) fn end(&self, started: &Started) {
        self.maps.block.opened(&started.flow); // unless it was established
        lock(&self.held).forget(&started.flow, started.id);
        if started.flow.proto == Proto::Udp {
            self.maps.close_flow(&started.flow);
            let mut udp = lock(&self.udp);
            udp.flows.remove(&started.flow);
            udp.ended.remove(&started.flow);
        }
        if started.through_vip {
            lock(&self.nat).end(&Self::nat_key(started), Instant::now());
        }
    }

    /// Tells the app why not.
    pub(super) fn refuse(&self, flow: &Flow, id: Id, cause: DialError) {
        let answered = (cause.answer() != Answer::Silence).then(Instant::now);
        let Some(packets) = lock(&self.held).refuse(flow, id, answered) else { return };
        let Some(packet) = packets.first() else { return };
        self.maps.block.opened(flow); // before the app hears: it may try again at once
        match answer::refusal(packet.get(VNET_HDR..).unwrap_or_default(), cause) {
            Some(answer) => {
                self.counts.up(Count::Refused);
                self.answer(&answer);
            }
            None => self.counts.up(Count::Silent),
        }
    }

    pub(super) fn answer(&self, packet: &[u8]) {
        if let Err(error) = self.tun.try_write(packet) {
            self.counts.up(Count::WriteFailed);
            tracing::debug!(%error, "an answer could not be written to the TUN");
        }
    }

    /// Once a second: ends what is over.
    pub(super) fn sweep(&self) {
        for _ in 0..lock(&self.held).expire(Instant::now()) {
            self.counts.up(Count::HeldTooLong);
        }
        self.sweep_nat();
        let mut udp = lock(&self.udp);
        let over = udp.flows.expire(monotonic(), |flow| self.maps.flow_seen(flow));
        for flow in &over {
            self.counts.up(Count::UdpExpired);
            if let Some(ended) = udp.ended.remove(flow) {
                ended.cancel();
            }
        }
    }

    fn sweep_nat(&self) {
        let mut nat = lock(&self.nat);
        let expired = nat.expire(Instant::now());
        for key in &expired {
            self.maps.remove_nat(key);
        }
        if nat.is_empty()
            && self.vips_mut().no_more()
            && let Err(error) = self.maps.look_for_vips(false)
        {
            tracing::debug!(%error, "the VIP look-ups stay on");
        }
    }

    fn nat_key(started: &Started) -> NatKey {
        nat_key(started.flow.app, started.cluster, started.flow.proto)
    }
}

/// The clock of the kernel programs, as they read it.
pub(super) fn monotonic_ns() -> u64 {
    u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX)
}

/// The clock of the kernel programs.
pub(super) fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}
