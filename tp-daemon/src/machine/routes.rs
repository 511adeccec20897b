//! `RTM_NEWROUTE` as routes: one for each way that a route may take.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::packet_core::parse_ip;
use tp_core::machine::{Route, RouteKind};

use super::attributes::{Attributes, word};
use super::kernel::{Family, Message};
use super::next_hops::Table;

/// `rtmsg`: family, destination and source length, TOS, table, protocol, scope, type, flags.
const FIXED: usize = 12;
/// `rtnexthop`: length, flags, hops, interface.
const HOP_FIXED: usize = 8;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_NH_ID: u16 = 30;

/// An entry of the cache, not of a table.
const RTM_F_CLONED: u32 = 0x200;
const RTNH_F_DEAD: u8 = 1;

/// A route as far as its own message tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    table: u32,
    network: IpNet,
    kind: RouteKind,
    metric: u32,
    ways: Ways,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Ways {
    /// Empty if all of them are dead: the kernel passes over the route.
    Direct(Vec<Way>),
    /// By a next hop that is an object of its own.
    Object(u32),
}

/// Device and gateway.
pub(super) type Way = (Option<u32>, Option<IpAddr>);

/// `None` for what is no route of that family.
pub(super) fn route(message: &Message, family: Family) -> Option<Found> {
    let payload = &message.payload;
    let (number, length) = (*payload.first()?, *payload.get(1)?);
    if number != family.number() || word(payload, 8)? & RTM_F_CLONED != 0 {
        return None;
    }
    let attributes = Attributes::of(payload.get(FIXED..)?);
    let everywhere =
        if family == Family::V4 { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
    let destination = attributes.ip(RTA_DST).unwrap_or(everywhere);
    Some(Found {
        table: table(payload, attributes)?,
        network: IpNet::new(destination, length).ok()?.trunc(),
        kind: kind(payload)?,
        metric: attributes.number(RTA_PRIORITY).unwrap_or(0),
        ways: ways(attributes)?,
    })
}

pub(super) fn table_of(payload: &[u8]) -> Option<u32> {
    table(payload, Attributes::of(payload.get(FIXED..)?))
}

pub(super) fn kind(payload: &[u8]) -> Option<RouteKind> {
    Some(match payload.get(7)? {
        1 => RouteKind::Unicast,
        2 => RouteKind::Local,
        3 => RouteKind::Broadcast,
        6 => RouteKind::Blackhole,
        7 => RouteKind::Unreachable,
        8 => RouteKind::Prohibit,
        9 => RouteKind::Throw,
        _ => RouteKind::Other,
    })
}

/// The devices of a route, if it names them itself.
pub(super) fn devices(payload: &[u8]) -> Vec<u32> {
    let ways = payload.get(FIXED..).and_then(|bytes| ways(Attributes::of(bytes)));
    match ways {
        Some(Ways::Direct(ways)) => ways.into_iter().filter_map(|(link, _)| link).collect(),
        Some(Ways::Object(_)) | None => Vec::new(),
    }
}

impl Found {
    /// The devices must be looked up among the next hop objects.
    pub(super) fn is_indirect(&self) -> bool {
        matches!(self.ways, Ways::Object(_))
    }

    /// One route for each way. One whose ways are all dead is not in use.
    pub(super) fn resolve(self, next_hops: &Table) -> Vec<Route> {
        let Self { table, network, mut kind, metric, ways } = self;
        let ways = match ways {
            Ways::Direct(ways) => ways,
            Ways::Object(id) => match next_hops.ways(id) {
                Some(ways) => ways,
                None => {
                    kind = RouteKind::Blackhole;
                    vec![(None, None)]
                }
            },
        };
        // IPv6 says loopback where there is no device
        let refuses = matches!(
            kind,
            RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Throw
        );
        let route = |(link, gateway): Way| {
            let link = link.filter(|_| !refuses);
            Route { table, network, kind, link, gateway, metric }
        };
        ways.into_iter().map(route).collect()
    }
}

fn table(payload: &[u8], attributes: Attributes<'_>) -> Option<u32> {
    attributes.number(RTA_TABLE).or_else(|| payload.get(4).map(|table| u32::from(*table)))
}

fn ways(attributes: Attributes<'_>) -> Option<Ways> {
    if let Some(hops) = attributes.bytes(RTA_MULTIPATH) {
        return Some(Ways::Direct(several(hops)));
    }
    let link = attributes.number(RTA_OIF);
    let gateway = gateway(attributes);
    match attributes.number(RTA_NH_ID) {
        Some(id) if link.is_none() && gateway.is_none() => Some(Ways::Object(id)),
        _ => Some(Ways::Direct(vec![(link, gateway)])),
    }
}

fn several(mut hops: &[u8]) -> Vec<Way> {
    let mut ways = Vec::new();
    while let Some(length) = hops.first_chunk().map(|length| usize::from(u16::from_ne_bytes(*length))) {
        let (Some(hop), Some(link)) = (hops.get(..length), word(hops, 4)) else { break };
        let Some(attributes) = hop.get(HOP_FIXED..) else { break };
        if hop[2] & RTNH_F_DEAD == 0 {
            ways.push((Some(link), gateway(Attributes::of(attributes))));
        }
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    ways
}

/// IPv4 by way of an IPv6 gateway comes as `RTA_VIA`, which begins with the family.
fn gateway(attributes: Attributes<'_>) -> Option<IpAddr> {
    attributes.ip(RTA_GATEWAY).or_else(|| parse_ip(attributes.bytes(RTA_VIA)?.get(2..)?).ok())
}
