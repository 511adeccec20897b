//! Which networks are routed through the TUN, which are hidden behind virtual addresses, and what stands in the way.
//!
//! One address at a time: the user's and the cluster's settings say what is wanted of it ([`wishes`]), the machine's
//! rules and tables who has it today and what it takes to win it ([`tables`]). Addresses that no input tells apart are
//! decided together ([`blocks`]), and neighbours with the same fate are put together again.

mod blocks;
mod decide;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod model;
mod node_side;
mod pools;
mod special;
mod tables;
mod wishes;

use std::net::IpAddr;

use ipnet::IpNet;

use self::decide::Decision;
use self::tables::Tables;
use self::wishes::Wishes;
use crate::cluster::ClusterView;
use crate::conflicts::{Conflict, VirtualSubnetConflict};
use crate::machine::Machine;
use crate::routing::{Exit, Routing};

pub use self::special::is_default_like;

/// What is the daemon's own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Own {
    /// The addresses of the API server or manager that the daemon itself talks to.
    pub transport: Vec<IpAddr>,
    /// The indices of tp0 and tpv.
    pub links: Vec<u32>,
    /// The networks of the TUN's own addresses.
    pub tun_networks: Vec<IpNet>,
}

impl Own {
    /// `links`: tp0 and tpv, as far as they are there.
    pub fn of(transport: &[IpAddr], links: Vec<u32>, machine: &Machine) -> Self {
        let of_tun = machine.addresses.iter().filter(|address| links.contains(&address.link));
        let tun_networks = of_tun.map(|address| address.net.trunc()).collect();
        Self { transport: transport.to_vec(), links, tun_networks }
    }
}

/// What to route where, what to hide behind virtual addresses, and what stands in the way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Disjoint networks, in order.
    pub routed: Vec<Placed>,
    /// Disjoint networks that are reached under virtual addresses only, in order.
    pub hidden: Vec<Hidden>,
    /// The parts of `hidden` whose addresses may be local in the private namespace: nothing on the workstation's side
    /// has an address there that a packet could come from.
    pub inside: Vec<IpNet>,
    /// The pools; empty unless something is hidden. They must stay routed as long as a VIP is in use.
    pub virtual_subnets: Vec<Placed>,
    /// Neither allowed nor resolved: nothing may be changed on the machine.
    pub conflicts: Vec<Conflict>,
    /// Hidden behind virtual addresses, by themselves.
    pub resolved: Vec<Conflict>,
    /// Allowed: routed all the same.
    pub overridden: Vec<Conflict>,
    /// Links behind which the cluster's nodes or pods live.
    pub node_side: Vec<u32>,
}

/// A network to route to the TUN, and the tables that need it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    pub network: IpNet,
    /// `main` is the first. A VPN's own table is among them if it would swallow the packets before `main` is asked.
    pub tables: Vec<u32>,
}

/// A network that is reached under virtual addresses only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hidden {
    pub network: IpNet,
    pub exit: Exit,
}

/// Decides everything.
pub fn plan(
    view: &ClusterView,
    routing: &Routing,
    machine: &Machine,
    own: &Own,
) -> Result<Plan, VirtualSubnetConflict> {
    let tables = Tables::of(machine, own);
    let wishes = Wishes::of(view, routing, machine, own);
    let mut decision = Decision::new(&tables, &wishes);
    for block in blocks::split(&wishes.roots(), &[tables.boundaries(), wishes.boundaries()].concat()) {
        decision.block(block);
    }
    let mut plan = decision.plan(routing.auto_resolve);
    plan.virtual_subnets = pools::placed_pools(&plan, routing, &tables, &wishes)?;
    if routing.recursion_guard {
        plan.node_side = node_side::links(view, own, &tables);
    }
    Ok(plan)
}
