//! The fate of each block, and all of them as a plan.

use std::net::IpAddr;

use ipnet::IpNet;

use super::blocks::{merge, narrowed};
use super::special::is_special;
use super::tables::{Holder, Tables, Winning};
use super::wishes::{Wish, Wishes};
use super::{Hidden, Placed, Plan};
use crate::conflicts::{Conflict, Origin};
use crate::routing::Exit;

/// What has been decided so far.
pub(super) struct Decision<'a> {
    tables: &'a Tables,
    wishes: &'a Wishes,
    routed: Vec<(IpNet, Winning)>,
    hidden: Vec<(IpNet, Exit)>,
    inside: Vec<IpNet>,
    /// Wanted, taken, and not allowed or not to be won.
    blocked: Vec<IpNet>,
    conflicts: Vec<Conflict>,
    overridden: Vec<Conflict>,
}

impl<'a> Decision<'a> {
    pub(super) fn new(tables: &'a Tables, wishes: &'a Wishes) -> Self {
        Self {
            tables,
            wishes,
            routed: Vec::new(),
            hidden: Vec::new(),
            inside: Vec::new(),
            blocked: Vec::new(),
            conflicts: Vec::new(),
            overridden: Vec::new(),
        }
    }

    /// All addresses of `block` are alike.
    pub(super) fn block(&mut self, block: IpNet) {
        let ip = block.network();
        match self.wishes.of_address(ip) {
            Wish::Nothing => {}
            Wish::Hidden(exit) => {
                self.hidden.push((block, exit));
                self.perhaps_inside(block);
            }
            Wish::Routed { subnet, origin } => self.route(block, ip, subnet, origin),
        }
    }

    /// Virtual addresses are known by name on the workstation only, so no app farther away than a neighbour uses them.
    fn perhaps_inside(&mut self, block: IpNet) {
        let ip = block.network();
        if !is_special(ip) && !self.tables.is_neighbour(ip) {
            self.inside.push(block);
        }
    }

    /// Without `auto_resolve` what is blocked stays a conflict.
    pub(super) fn plan(mut self, auto_resolve: bool) -> Plan {
        if auto_resolve {
            for block in std::mem::take(&mut self.blocked) {
                self.hidden.push((block, Exit::Manager));
                self.perhaps_inside(block);
            }
        }
        let same = |a: &Exit, b: &Exit, _| (a == b).then(|| a.clone());
        let (resolved, conflicts) =
            if auto_resolve { (self.conflicts, Vec::new()) } else { (Vec::new(), self.conflicts) };
        Plan {
            routed: placed(self.routed),
            hidden: merge(self.hidden, same)
                .into_iter()
                .map(|(network, exit)| Hidden { network, exit })
                .collect(),
            inside: IpNet::aggregate(&self.inside),
            conflicts: sorted(conflicts),
            resolved: without_details(&sorted(resolved)),
            overridden: sorted(self.overridden),
            ..Plan::default()
        }
    }

    fn route(&mut self, block: IpNet, ip: IpAddr, subnet: IpNet, origin: Origin) {
        let mut holders = self.tables.holders(ip, subnet.prefix_len());
        let winning = self.tables.winning(ip, block.prefix_len());
        let allowed = self.wishes.allowed(ip);
        match winning {
            Ok(winning) if holders.is_empty() || allowed.is_some() => {
                self.routed.push((block, winning));
                let within = allowed.map_or(subnet, |allowed| smaller(allowed, subnet));
                self.overridden.extend(
                    holders.iter().map(|holder| conflict(self.tables, holder, subnet, origin, within, true)),
                );
            }
            winning => {
                let beatable = winning.is_ok();
                // who cannot be beaten is in the way, even of what nobody uses
                holders.extend(winning.err().filter(|unbeaten| !holders.contains(unbeaten)));
                let told = |holder| conflict(self.tables, holder, subnet, origin, subnet, beatable);
                self.conflicts.extend(holders.iter().map(told));
                self.blocked.push(block);
            }
        }
    }
}

/// Blocks that are won in the same tables, as few routes as really win.
pub(super) fn placed(won: Vec<(IpNet, Winning)>) -> Vec<Placed> {
    let narrow = |(net, winning): (IpNet, Winning)| {
        narrowed(net, winning.min_length).into_iter().map(move |part| (part, winning.clone()))
    };
    let joined = |a: &Winning, b: &Winning, parent: IpNet| {
        let min_length = a.min_length.max(b.min_length);
        (a.tables == b.tables && parent.prefix_len() >= min_length)
            .then(|| Winning { tables: a.tables.clone(), min_length })
    };
    merge(won.into_iter().flat_map(narrow).collect(), joined)
        .into_iter()
        .map(|(network, winning)| Placed { network, tables: winning.tables })
        .collect()
}

pub(super) fn conflict(
    tables: &Tables,
    holder: &Holder<'_>,
    subnet: IpNet,
    origin: Origin,
    within: IpNet,
    beatable: bool,
) -> Conflict {
    let (way, network) = tables.in_the_way(holder);
    let overlap = network.map_or(within, |network| smaller(network, within));
    Conflict { subnet, origin, overlap, way, beatable }
}

/// Of two networks that overlap.
pub(super) fn smaller(a: IpNet, b: IpNet) -> IpNet {
    if a.prefix_len() > b.prefix_len() { a } else { b }
}

/// The addresses of a device are no news where its network is told; that they cannot be overridden is of no matter for
/// what is resolved.
fn without_details(conflicts: &[Conflict]) -> Vec<Conflict> {
    let is_detail = |detail: &Conflict| {
        conflicts.iter().any(|whole| {
            (whole.subnet, whole.origin, &whole.way.device)
                == (detail.subnet, detail.origin, &detail.way.device)
                && whole.overlap != detail.overlap
                && whole.overlap.contains(&detail.overlap)
        })
    };
    conflicts.iter().filter(|conflict| !is_detail(conflict)).cloned().collect()
}

/// Each once, by subnet, and then by what is in the way. A conflict that our route could win in one place and not in
/// another is told as the worse.
fn sorted(mut conflicts: Vec<Conflict>) -> Vec<Conflict> {
    conflicts.sort_by(|a, b| {
        let key =
            |conflict: &Conflict| (conflict.subnet, conflict.origin, conflict.overlap, conflict.way.what);
        key(a).cmp(&key(b)).then_with(|| a.way.device.cmp(&b.way.device)).then(a.beatable.cmp(&b.beatable))
    });
    conflicts
        .dedup_by(|a, b| (a.subnet, a.origin, a.overlap, &a.way) == (b.subnet, b.origin, b.overlap, &b.way));
    conflicts
}
