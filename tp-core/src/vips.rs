//! Virtual addresses: which one stands for which cluster address by which exit, and for how long.
//!
//! A VIP stays while flows use it or an answer with it may be in use. After disuse it rests: the kernel forgets it, but
//! whoever asks for the same key gets it back, and an app that has kept it is still understood. It is given to another
//! key only when no address is left that never stood for anything, and when it has rested for long.

mod pool;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use thiserror::Error;

use self::pool::Pool;
use crate::routing::Exit;

/// How long a VIP is kept that nobody has asked for and no flow has used.
pub const DISUSE: Duration = Duration::from_secs(30 * 60);
/// How long one that was given back stands for nothing else.
pub const REST: Duration = Duration::from_secs(30 * 60);

/// The pools, and what has been given out of them.
#[derive(Debug)]
pub struct Vips {
    v4: Pool,
    v6: Pool,
    given: HashMap<IpAddr, Given>,
    by_key: HashMap<(IpAddr, Exit), IpAddr>,
    /// Since when, oldest first.
    resting: BTreeSet<(Instant, IpAddr)>,
    /// Cluster addresses that are used inside as they are, each by one VIP.
    inside: HashMap<IpAddr, IpAddr>,
    may_be_inside: Vec<IpNet>,
}

#[derive(Debug)]
struct Given {
    cluster: IpAddr,
    exit: Exit,
    inside: IpAddr,
    flows: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Asked for, or left by a flow, then.
    Used(Instant),
    /// Since then.
    Resting(Instant),
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
#[error(
    "the virtual subnet {pool} is used up: all of its {size} addresses stand, or stood lately, for one of the cluster"
)]
pub struct Exhausted {
    pub pool: IpNet,
    pub size: u32,
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
        Self {
            v4: Pool::new(v4.into()),
            v6: Pool::new(v6.into()),
            given: HashMap::new(),
            by_key: HashMap::new(),
            resting: BTreeSet::new(),
            inside: HashMap::new(),
            may_be_inside: Vec::new(),
        }
    }

    /// The networks whose addresses may be used as they are inside the private namespace (`Plan::inside`). An address
    /// outside of them is represented by its VIP there too. VIPs that are in use stay what they are.
    pub fn set_inside(&mut self, networks: &[IpNet]) {
        networks.clone_into(&mut self.may_be_inside);
    }

    /// The virtual address for `cluster` by `exit`, of the same family; a new one if there is none.
    pub fn vip(
        &mut self,
        cluster: IpAddr,
        exit: &Exit,
        now: Instant,
    ) -> Result<(IpAddr, Vec<Change>), Exhausted> {
        let key = (cluster, exit.clone());
        if let Some(&vip) = self.by_key.get(&key) {
            return Ok((vip, self.use_again(vip, now)));
        }
        let pool = if cluster.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        let vip = match pool.fresh() {
            Some(vip) => vip,
            None => self.rested(cluster.is_ipv4(), now)?,
        };
        let inside = self.choose_inside(vip, cluster);
        let given = Given { cluster, exit: exit.clone(), inside, flows: 0, state: State::Used(now) };
        self.given.insert(vip, given);
        self.by_key.insert(key, vip);
        Ok((vip, vec![Change::Add { vip, inside }]))
    }

    /// What a virtual address stands for, or stood for if it has not been given to another.
    pub fn lookup(&self, vip: IpAddr) -> Option<(IpAddr, &Exit)> {
        self.given.get(&vip).map(|given| (given.cluster, &given.exit))
    }

    /// Keeps the VIP until the flow has ended.
    pub fn flow_started(&mut self, vip: IpAddr) {
        let Some(given) = self.given.get_mut(&vip) else { return };
        given.flows = given.flows.saturating_add(1);
        if let State::Resting(since) = given.state {
            // an app has kept it; the kernel does not rewrite it any more, which is as good
            self.resting.remove(&(since, vip));
            given.state = State::Used(since);
            given.inside = vip;
        }
    }

    pub fn flow_ended(&mut self, vip: IpAddr, now: Instant) {
        let Some(given) = self.given.get_mut(&vip) else { return };
        given.flows = given.flows.saturating_sub(1);
        if let State::Used(last) = &mut given.state {
            *last = now.max(*last);
        }
    }

    /// Takes back what has not been used for long enough. To be called every minute or so.
    pub fn expire(&mut self, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        for (vip, given) in &mut self.given {
            let State::Used(last) = given.state else { continue };
            if given.flows > 0 || now.saturating_duration_since(last) < DISUSE {
                continue;
            }
            given.state = State::Resting(now);
            self.resting.insert((now, *vip));
            if given.inside != *vip {
                self.inside.remove(&given.inside);
            }
            changes.push(Change::Remove { vip: *vip });
        }
        changes
    }

    /// Everything in use, by address.
    pub fn entries(&self) -> Vec<Entry> {
        let in_use = self.given.iter().filter(|(_, given)| matches!(given.state, State::Used(_)));
        let mut entries: Vec<Entry> = in_use
            .map(|(vip, given)| Entry {
                vip: *vip,
                cluster: given.cluster,
                exit: given.exit.clone(),
                inside: given.inside,
                flows: given.flows,
            })
            .collect();
        entries.sort_by_key(|entry| entry.vip);
        entries
    }

    /// How many are in use.
    pub fn in_use(&self) -> usize {
        self.given.len() - self.resting.len()
    }

    fn use_again(&mut self, vip: IpAddr, now: Instant) -> Vec<Change> {
        let Some(given) = self.given.get_mut(&vip) else { return Vec::new() };
        match given.state {
            State::Used(last) => {
                given.state = State::Used(now.max(last));
                Vec::new()
            }
            State::Resting(since) => {
                self.resting.remove(&(since, vip));
                given.state = State::Used(now.max(since));
                let cluster = given.cluster;
                let inside = self.choose_inside(vip, cluster);
                if let Some(given) = self.given.get_mut(&vip) {
                    given.inside = inside;
                }
                vec![Change::Add { vip, inside }]
            }
        }
    }

    /// The one that has rested longest, taken from the key it stood for.
    fn rested(&mut self, v4: bool, now: Instant) -> Result<IpAddr, Exhausted> {
        let pool = if v4 { &self.v4 } else { &self.v6 };
        let exhausted = Exhausted { pool: pool.net(), size: pool.size() };
        let oldest = self.resting.iter().copied().find(|(_, vip)| vip.is_ipv4() == v4);
        let (since, vip) =
            oldest.filter(|(since, _)| now.saturating_duration_since(*since) >= REST).ok_or(exhausted)?;
        self.resting.remove(&(since, vip));
        if let Some(before) = self.given.remove(&vip) {
            self.by_key.remove(&(before.cluster, before.exit));
        }
        Ok(vip)
    }

    /// The cluster address where it can live inside, and where no other VIP has it there already.
    fn choose_inside(&mut self, vip: IpAddr, cluster: IpAddr) -> IpAddr {
        if self.inside.contains_key(&cluster) || !self.may_be_inside.iter().any(|net| net.contains(&cluster))
        {
            return vip;
        }
        self.inside.insert(cluster, vip);
        cluster
    }
}
