//! Decodes the kernel programs' maps into rows.

use std::io;
use std::net::{IpAddr, SocketAddr};

use aya::Pod;
use aya::maps::{HashMap, MapData, MapError};
use tp_common::dns::MAX_DNS;
use tp_common::flow::MAX_FLOWS;
use tp_common::outcome::Outcome;
use tp_common::recursion::{HELD, MAX_NODE_SIDE, MAX_RECURSION};
use tp_common::vip::{MAX_NAT, MAX_VIPS};
use tp_common::{Addr, TCP, UDP};

use crate::dataplane::dump::{
    DnsClientRow, DnsOriginalRow, FlowRow, MapDump, NatRow, NodeSideRow, OutcomeRow, RecursionRow, Rows,
    VipRow,
};
use crate::dataplane::maps::{Maps, error, lock};
use crate::dataplane::shared::monotonic_ns;

type Decode = fn(&Maps) -> io::Result<Rows>;

/// Name, size and decoder of every map.
const MAPS: &[(&str, u32, Decode)] = &[
    ("flows", MAX_FLOWS, flows),
    ("vips", MAX_VIPS, vips),
    ("nat", MAX_NAT, nat),
    ("recursion", MAX_RECURSION, recursion),
    ("node_side", MAX_NODE_SIDE, node_side),
    ("dns_clients", MAX_DNS, dns_clients),
    ("dns_originals", MAX_DNS, dns_originals),
    ("outcomes", Outcome::COUNT, outcomes),
];

pub(super) fn dump(maps: &Maps, only: Option<&str>) -> io::Result<Vec<MapDump>> {
    if let Some(name) = only
        && !MAPS.iter().any(|(known, ..)| *known == name)
    {
        let known: Vec<&str> = MAPS.iter().map(|(known, ..)| *known).collect();
        let message = format!("there is no map {name:?}\n\nhint: the maps are {}", known.join(", "));
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    let wanted = MAPS.iter().filter(|(name, ..)| only.is_none_or(|only| only == *name));
    wanted
        .map(|(name, max_entries, decode)| {
            Ok(MapDump { name, max_entries: *max_entries, rows: decode(maps)? })
        })
        .collect()
}

fn flows(maps: &Maps) -> io::Result<Rows> {
    let now = monotonic_ns();
    let rows = entries(&lock(&maps.flows))?.into_iter().map(|(key, value)| FlowRow {
        proto: proto(key.proto),
        app: at(key.app, key.app_port),
        dest: at(key.dest, key.dest_port),
        state: if value.answered == 0 { "unanswered" } else { "answered" },
        packets_to_cluster: value.packets_to_cluster,
        bytes_to_cluster: value.bytes_to_cluster,
        packets_to_app: value.packets_to_app,
        bytes_to_app: value.bytes_to_app,
        idle_ms: now.saturating_sub(value.last_seen_ns) / 1_000_000,
    });
    Ok(Rows::Flows(rows.collect()))
}

fn vips(maps: &Maps) -> io::Result<Rows> {
    let rows = entries(&lock(&maps.vips))?.into_iter();
    Ok(Rows::Vips(rows.map(|(vip, cluster)| VipRow { vip: vip.into(), cluster: cluster.into() }).collect()))
}

fn nat(maps: &Maps) -> io::Result<Rows> {
    let rows = entries(&lock(&maps.nat))?.into_iter().map(|(key, vip)| NatRow {
        proto: proto(key.proto),
        app: at(key.app, key.app_port),
        cluster: at(key.cluster, key.cluster_port),
        vip: vip.into(),
    });
    Ok(Rows::Nat(rows.collect()))
}

fn recursion(maps: &Maps) -> io::Result<Rows> {
    let now = monotonic_ns();
    let closed = entries(&lock(&maps.block.closed))?.into_iter().filter(|(_, first)| first.expiry_ns > now);
    let rows = closed.map(|(key, first)| RecursionRow {
        proto: proto(key.proto),
        dest: at(key.dest, key.port),
        first_app: at(first.app, first.app_port),
        state: if first.state == HELD { "held" } else { "established" },
        left_ms: first.expiry_ns.saturating_sub(now) / 1_000_000,
    });
    Ok(Rows::Recursion(rows.collect()))
}

fn node_side(maps: &Maps) -> io::Result<Rows> {
    let rows = entries(&lock(&maps.node_side))?.into_iter();
    Ok(Rows::NodeSide(rows.map(|(interface, _)| NodeSideRow { interface }).collect()))
}

fn dns_clients(maps: &Maps) -> io::Result<Rows> {
    let rows = entries(&maps.dns_clients)?.into_iter().map(|(key, server)| DnsClientRow {
        proto: proto(key.proto),
        app: at(key.app, key.port),
        server: at(server.addr, server.port),
    });
    Ok(Rows::DnsClients(rows.collect()))
}

fn dns_originals(maps: &Maps) -> io::Result<Rows> {
    let rows = entries(&maps.dns_orig)?.into_iter();
    let row = |(socket_cookie, server): (u64, tp_common::dns::DnsServer)| DnsOriginalRow {
        socket_cookie,
        server: at(server.addr, server.port),
    };
    Ok(Rows::DnsOriginals(rows.map(row).collect()))
}

fn outcomes(maps: &Maps) -> io::Result<Rows> {
    let rows = maps.outcomes().into_iter().map(|(outcome, packets)| OutcomeRow { outcome, packets });
    Ok(Rows::Outcomes(rows.collect()))
}

/// All entries; one that vanishes while we look is left out.
fn entries<K: Pod, V: Pod>(map: &HashMap<MapData, K, V>) -> io::Result<Vec<(K, V)>> {
    let mut found = Vec::new();
    for entry in map {
        match entry {
            Ok(entry) => found.push(entry),
            Err(MapError::KeyNotFound) => {}
            Err(other) => return Err(error(other)),
        }
    }
    Ok(found)
}

fn at(addr: Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from(addr), port)
}

fn proto(number: u8) -> &'static str {
    match number {
        TCP => "tcp",
        UDP => "udp",
        _ => "other",
    }
}
