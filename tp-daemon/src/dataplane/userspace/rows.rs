//! What `tp maps dump` shows of the userspace dataplane: the tables that it has, under the names of the kernel's maps.

use std::io;
use std::sync::PoisonError;

use tp_common::recursion::{MAX_NODE_SIDE, MAX_RECURSION};
use tp_common::vip::MAX_VIPS;

use crate::dataplane::dump::{MapDump, NodeSideRow, OutcomeRow, Rows, VipRow};
use crate::dataplane::maps::lock;
use crate::dataplane::userspace::shared::Shared;

type Decode = fn(&Shared) -> Rows;

const TABLES: &[(&str, u32, Decode)] = &[
    ("flows", u32::MAX, flows),
    ("vips", MAX_VIPS, vips),
    ("recursion", MAX_RECURSION, |shared| Rows::Recursion(shared.guard.rows())),
    ("node_side", MAX_NODE_SIDE, node_side),
    ("outcomes", u32::MAX, outcomes),
];
/// Of the kernel programs alone.
const KERNELS: &[&str] = &["nat", "dns_clients", "dns_originals"];

pub(super) fn dump(shared: &Shared, only: Option<&str>) -> io::Result<Vec<MapDump>> {
    if let Some(name) = only
        && !TABLES.iter().any(|(known, ..)| *known == name)
    {
        let known: Vec<&str> = TABLES.iter().map(|(known, ..)| *known).collect();
        let what = if KERNELS.contains(&name) {
            format!("the map {name} belongs to the kernel programs, and the userspace dataplane has none")
        } else {
            format!("there is no map {name:?}")
        };
        let message = format!("{what}\n\nhint: the maps are {}", known.join(", "));
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    let wanted = TABLES.iter().filter(|(name, ..)| only.is_none_or(|only| only == *name));
    Ok(wanted
        .map(|(name, max_entries, decode)| MapDump { name, max_entries: *max_entries, rows: decode(shared) })
        .collect())
}

fn flows(shared: &Shared) -> Rows {
    Rows::Flows(lock(&shared.udp).rows())
}

fn vips(shared: &Shared) -> Rows {
    let vips = shared.vips.read().unwrap_or_else(PoisonError::into_inner);
    Rows::Vips(vips.iter().map(|(vip, cluster)| VipRow { vip: *vip, cluster: *cluster }).collect())
}

fn node_side(shared: &Shared) -> Rows {
    Rows::NodeSide(shared.guard.node_side().into_iter().map(|interface| NodeSideRow { interface }).collect())
}

fn outcomes(shared: &Shared) -> Rows {
    let moved = shared.counts().moved().into_iter();
    Rows::Outcomes(moved.map(|(outcome, packets)| OutcomeRow { outcome, packets }).collect())
}
