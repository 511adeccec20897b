//! Typed handles of the kernel programs' maps.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, SockMap};
use tp_common::Addr;
use tp_common::dns::{DnsClient, DnsServer};
use tp_common::flow::{FlowKey, FlowValue};
use tp_common::outcome::Outcome;
use tp_common::vip::NatKey;
use tp_core::addr::{AppAddr, ClusterAddr};
use tp_core::flow::{Flow, Proto};
use tp_core::udp_flows::Seen;

use crate::dataplane::recursion::Block;
use crate::dataplane::vips::Edit;

pub(super) struct Maps {
    pub(super) flows: Mutex<HashMap<MapData, FlowKey, FlowValue>>,
    pub(super) vips: Mutex<HashMap<MapData, Addr, Addr>>,
    vip_count: Mutex<Array<MapData, u32>>,
    pub(super) nat: Mutex<HashMap<MapData, NatKey, Addr>>,
    pub(super) block: Block,
    pub(super) node_side: Mutex<HashMap<MapData, u32, u32>>,
    pub(super) dns_clients: HashMap<MapData, DnsClient, DnsServer>,
    pub(super) dns_orig: HashMap<MapData, u64, DnsServer>,
    pub(super) outcomes: PerCpuArray<MapData, u64>,
    listeners: Mutex<SockMap<MapData>>,
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> io::Result<Self> {
        macro_rules! map {
            ($name:literal) => {
                ebpf.take_map($name)
                    .ok_or_else(|| io::Error::other(concat!("the object has no map ", $name)))?
                    .try_into()
                    .map_err(error)?
            };
        }
        Ok(Self {
            flows: Mutex::new(map!("FLOWS")),
            vips: Mutex::new(map!("VIPS")),
            vip_count: Mutex::new(map!("VIP_COUNT")),
            nat: Mutex::new(map!("NAT")),
            block: Block::new(map!("RECURSION"), map!("BLOCK")),
            node_side: Mutex::new(map!("NODE_SIDE")),
            dns_clients: map!("DNS_CLIENTS"),
            dns_orig: map!("DNS_ORIG"),
            outcomes: map!("OUTCOMES"),
            listeners: Mutex::new(map!("LISTENERS")),
        })
    }

    pub(super) fn set_listener(&self, index: u32, listener: &impl AsRawFd) -> io::Result<()> {
        lock(&self.listeners).set(index, listener, 0).map_err(error)
    }

    /// Datagrams of this flow cross from now on.
    pub(super) fn open_flow(&self, flow: &Flow, now_ns: u64) -> io::Result<()> {
        let value = FlowValue { last_seen_ns: now_ns, ..FlowValue::default() };
        lock(&self.flows).insert(flow_key(flow), value, 0).map_err(error)
    }

    pub(super) fn close_flow(&self, flow: &Flow) {
        absent_is_fine(lock(&self.flows).remove(&flow_key(flow)));
    }

    pub(super) fn flow_seen(&self, flow: &Flow) -> Option<Seen> {
        let value = lock(&self.flows).get(&flow_key(flow), 0).ok()?;
        Some(Seen {
            last: std::time::Duration::from_nanos(value.last_seen_ns),
            answered: value.answered != 0,
        })
    }

    /// Makes packets look for VIPs, or spares them the look-up. It must be on before the first VIP is rewritten and stay
    /// on until the last flow through one is forgotten: else packets crossed under the wrong address.
    pub(super) fn look_for_vips(&self, on: bool) -> io::Result<()> {
        lock(&self.vip_count).set(0, u32::from(on), 0).map_err(error)
    }

    /// Whether there was room.
    pub(super) fn edit_vip(&self, edit: Edit) -> io::Result<bool> {
        let mut vips = lock(&self.vips);
        match edit {
            Edit::Set(vip, inside) => match vips.insert(Addr::from(vip), Addr::from(inside), 0) {
                Err(MapError::SyscallError(full)) if full.io_error.raw_os_error() == Some(libc::E2BIG) => {
                    return Ok(false);
                }
                result => result.map_err(error)?,
            },
            Edit::Remove(vip) => absent_is_fine(vips.remove(&Addr::from(vip))),
        }
        Ok(true)
    }

    pub(super) fn set_nat(&self, key: &NatKey, vip: IpAddr) -> io::Result<()> {
        lock(&self.nat).insert(key, Addr::from(vip), 0).map_err(error)
    }

    pub(super) fn remove_nat(&self, key: &NatKey) {
        absent_is_fine(lock(&self.nat).remove(key));
    }

    pub(super) fn set_node_side(&self, interfaces: &[u32]) -> io::Result<()> {
        let mut map = lock(&self.node_side);
        let before: Vec<u32> = map.keys().collect::<Result<_, _>>().map_err(error)?;
        for interface in interfaces {
            map.insert(interface, 1, 0).map_err(error)?;
        }
        for old in before.iter().filter(|old| !interfaces.contains(old)) {
            absent_is_fine(map.remove(old));
        }
        Ok(())
    }

    pub(super) fn original_server(&self, app: AppAddr, proto: Proto) -> Option<SocketAddr> {
        let key = DnsClient { app: Addr::from(app.ip()), port: app.port(), proto: proto.number(), zero: 0 };
        let server = self.dns_clients.get(&key, 0).ok()?;
        Some(SocketAddr::new(server.addr.into(), server.port))
    }

    /// Packets per outcome, over all CPUs; outcomes that never came are left out.
    pub(super) fn outcomes(&self) -> Vec<(&'static str, u64)> {
        let count = |outcome: Outcome| -> u64 {
            self.outcomes.get(&(outcome as u32), 0).map(|per_cpu| per_cpu.iter().sum()).unwrap_or(0)
        };
        let counted = Outcome::ALL.iter().map(|outcome| (outcome.name(), count(*outcome)));
        counted.filter(|(_, packets)| *packets > 0).collect()
    }
}

/// A flow entered through a VIP, as the private namespace sees it.
pub(super) fn nat_key(app: AppAddr, cluster: ClusterAddr, proto: Proto) -> NatKey {
    NatKey {
        app: Addr::from(app.ip()),
        cluster: Addr::from(cluster.ip()),
        app_port: app.port(),
        cluster_port: cluster.port(),
        proto: proto.number(),
        zero: [0; 3],
    }
}

fn flow_key(flow: &Flow) -> FlowKey {
    FlowKey {
        app: Addr::from(flow.app.ip()),
        dest: Addr::from(flow.dest.ip()),
        app_port: flow.app.port(),
        dest_port: flow.dest.port(),
        proto: flow.proto.number(),
        zero: [0; 3],
    }
}

/// No code panics while it holds one of these; a poisoned lock still guards a whole map.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The only way for a removal to fail is that the entry is not there.
pub(super) fn absent_is_fine(removed: Result<(), MapError>) {
    if let Err(error) = removed {
        tracing::trace!(%error, "a map entry was gone already");
    }
}

pub(super) fn error(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("using a map of the kernel programs: {error}"))
}
