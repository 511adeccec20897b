//! The virtual subnets: routed like the cluster's, and in conflict with nobody.

use ipnet::IpNet;

use super::decide::{conflict, placed, smaller};
use super::special::SPECIAL;
use super::tables::Tables;
use super::wishes::Wishes;
use super::{Placed, Plan, blocks};
use crate::conflicts::{Conflict, DeviceKind, InTheWay, Origin, Taken, VirtualSubnetConflict};
use crate::routing::{Routing, VIRTUAL_SUBNET_V4, VIRTUAL_SUBNET_V6};

/// The pools that the plan's hidden networks need. One that the user chose is refused also while it is not needed: a
/// conflict would else show up with the first VPN.
pub(super) fn placed_pools(
    plan: &Plan,
    routing: &Routing,
    tables: &Tables,
    wishes: &Wishes,
) -> Result<Vec<Placed>, VirtualSubnetConflict> {
    let mut found = Vec::new();
    for pool in [IpNet::V4(routing.virtual_subnet_v4.trunc()), IpNet::V6(routing.virtual_subnet_v6.trunc())] {
        let is_v4 = |net: IpNet| net.max_prefix_len() == 32;
        let needed = plan.hidden.iter().any(|hidden| is_v4(hidden.network) == is_v4(pool));
        let is_default = pool == IpNet::V4(VIRTUAL_SUBNET_V4) || pool == IpNet::V6(VIRTUAL_SUBNET_V6);
        if !needed && is_default {
            continue;
        }
        let routes = place(pool, tables, wishes)
            .map_err(|conflict| VirtualSubnetConflict { conflict, free: free(pool, tables, wishes) })?;
        if needed {
            found.extend(routes);
        }
    }
    Ok(found)
}

/// Other networks of little use to anybody, tried in this order.
const CANDIDATES: [&str; 6] = [
    "246.246.0.0/16",
    "245.245.0.0/16",
    "198.19.0.0/17",
    "fd74:7076::/64",
    "fd74:7077::/64",
    "fd74:7078::/64",
];

fn free(pool: IpNet, tables: &Tables, wishes: &Wishes) -> Option<IpNet> {
    CANDIDATES
        .iter()
        .filter_map(|text| text.parse::<IpNet>().ok())
        .filter(|candidate| candidate.max_prefix_len() == pool.max_prefix_len() && *candidate != pool)
        .find(|candidate| place(*candidate, tables, wishes).is_ok())
}

fn place(pool: IpNet, tables: &Tables, wishes: &Wishes) -> Result<Vec<Placed>, Box<Conflict>> {
    let overlaps = |net: &IpNet| net.contains(&pool) || pool.contains(net);
    let taken = |what, net| {
        let way = InTheWay::without_device(what, DeviceKind::Other);
        let overlap = smaller(net, pool);
        Box::new(Conflict { subnet: pool, origin: Origin::Virtual, overlap, way, beatable: false })
    };
    if let Some((net, _)) = wishes.overlapping(pool) {
        return Err(taken(Taken::Cluster(net), net));
    }
    if let Some(net) = SPECIAL.into_iter().find(overlaps) {
        return Err(taken(Taken::Special(net), net));
    }
    if let Some(net) = wishes.holes().iter().copied().find(overlaps) {
        return Err(taken(Taken::Own(net), net));
    }
    let mut won = Vec::new();
    for block in blocks::split(&[pool], &[tables.boundaries(), wishes.boundaries()].concat()) {
        let ip = block.network();
        let holders = tables.holders(ip, pool.prefix_len());
        let told =
            |holder, beatable| Box::new(conflict(tables, holder, pool, Origin::Virtual, pool, beatable));
        match tables.winning(ip, block.prefix_len()) {
            Err(unbeaten) => return Err(told(&unbeaten, false)),
            Ok(winning) => match holders.first() {
                Some(holder) if wishes.allowed(ip).is_none() => return Err(told(holder, true)),
                _ => won.push((block, winning)),
            },
        }
    }
    Ok(placed(won))
}
