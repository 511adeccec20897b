//! Virtual addresses: which one stands for which cluster address, and for how long.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use thiserror::Error;

use crate::routing::Exit;

/// The pool, and what has been given out of it.
#[derive(Debug)]
pub struct Vips {
    v4: Ipv4Net,
    v6: Ipv6Net,
    by_key: HashMap<(IpAddr, Exit), IpAddr>,
    by_vip: HashMap<IpAddr, (IpAddr, Exit)>,
}

/// What the dataplane must be told, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// From now on `vip` stands for `inside`, the address in the daemon's private namespace. It may be known already.
    Add {
        vip: IpAddr,
        inside: IpAddr,
    },
    Remove {
        vip: IpAddr,
    },
}

/// No virtual address is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the virtual subnet {pool} is used up: all of its {in_use} addresses stand for a cluster address")]
pub struct Exhausted {
    pub pool: IpNet,
    pub in_use: usize,
}

/// One virtual address, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub vip: IpAddr,
    pub cluster: IpAddr,
    pub exit: Exit,
    pub inside: IpAddr,
    pub flows: u32,
}

impl Vips {
    pub fn new(v4: Ipv4Net, v6: Ipv6Net) -> Self {
        Self { v4, v6, by_key: HashMap::new(), by_vip: HashMap::new() }
    }

    /// The networks whose addresses may be used as they are inside the private namespace (`Plan::inside`). An address
    /// outside of them is represented by its VIP there too.
    pub fn set_inside(&mut self, networks: &[IpNet]) {
        let _ = networks;
    }

    /// The virtual address for `cluster` by `exit`, of the same family; a new one if there is none.
    pub fn vip(
        &mut self,
        cluster: IpAddr,
        exit: &Exit,
        now: Instant,
    ) -> Result<(IpAddr, Vec<Change>), Exhausted> {
        let _ = now;
        if let Some(vip) = self.by_key.get(&(cluster, exit.clone())) {
            return Ok((*vip, Vec::new()));
        }
        let in_use = self.by_vip.keys().filter(|vip| vip.is_ipv4() == cluster.is_ipv4()).count();
        let pool = if cluster.is_ipv4() { IpNet::V4(self.v4) } else { IpNet::V6(self.v6) };
        let vip = pool.hosts().nth(in_use).ok_or(Exhausted { pool, in_use })?;
        self.by_key.insert((cluster, exit.clone()), vip);
        self.by_vip.insert(vip, (cluster, exit.clone()));
        Ok((vip, vec![Change::Add { vip, inside: vip }]))
    }

    /// What a virtual address stands for.
    pub fn lookup(&self, vip: IpAddr) -> Option<(IpAddr, &Exit)> {
        self.by_vip.get(&vip).map(|(cluster, exit)| (*cluster, exit))
    }

    pub fn flow_started(&mut self, vip: IpAddr) {
        let _ = vip;
    }

    pub fn flow_ended(&mut self, vip: IpAddr, now: Instant) {
        let _ = (vip, now);
    }

    /// Takes back what has not been used for long enough. To be called every minute or so.
    pub fn expire(&mut self, now: Instant) -> Vec<Change> {
        let _ = now;
        Vec::new()
    }

    /// Everything given out, by address.
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |(vip, (cluster, exit)): (&IpAddr, &(IpAddr, Exit))| Entry {
            vip: *vip,
            cluster: *cluster,
            exit: exit.clone(),
            inside: *vip,
            flows: 0,
        };
        let mut entries: Vec<Entry> = self.by_vip.iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.vip);
        entries
    }
}
