//! The kernel programs' maps as rows a person or a script can read.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

/// One map, decoded.
#[derive(Clone, Debug, Serialize)]
pub struct MapDump {
    pub name: &'static str,
    pub max_entries: u32,
    pub rows: Rows,
}

/// The rows of a map, by the kind of its entries.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Rows {
    Flows(Vec<FlowRow>),
    Vips(Vec<VipRow>),
    VirtualAddresses(Vec<VirtualAddressRow>),
    Nat(Vec<NatRow>),
    Recursion(Vec<RecursionRow>),
    NodeSide(Vec<NodeSideRow>),
    DnsClients(Vec<DnsClientRow>),
    DnsOriginals(Vec<DnsOriginalRow>),
    Outcomes(Vec<OutcomeRow>),
}

/// A UDP flow; `dest` as the app sees it.
#[derive(Clone, Debug, Serialize)]
pub struct FlowRow {
    pub proto: &'static str,
    pub app: SocketAddr,
    pub dest: SocketAddr,
    pub state: &'static str,
    pub packets_to_cluster: u64,
    pub bytes_to_cluster: u64,
    pub packets_to_app: u64,
    pub bytes_to_app: u64,
    pub idle_ms: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct VipRow {
    pub vip: IpAddr,
    pub cluster: IpAddr,
}

/// What the session knows of a VIP, and what the kernel makes of it: `inside` is the destination in the private
/// namespace, the VIP itself when the cluster address cannot live there.
#[derive(Clone, Debug, Serialize)]
pub struct VirtualAddressRow {
    pub vip: IpAddr,
    pub cluster: IpAddr,
    pub inside: IpAddr,
    /// `manager`, or the workload whose agent dials.
    pub exit: String,
    pub flows: u32,
}

/// A flow that entered through a VIP, by what the private namespace sees.
#[derive(Clone, Debug, Serialize)]
pub struct NatRow {
    pub proto: &'static str,
    pub app: SocketAddr,
    pub cluster: SocketAddr,
    pub vip: IpAddr,
}

/// An IP:PORT that is closed to all but the flow of `first_app`.
#[derive(Clone, Debug, Serialize)]
pub struct RecursionRow {
    pub proto: &'static str,
    pub dest: SocketAddr,
    pub first_app: SocketAddr,
    pub state: &'static str,
    pub left_ms: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct NodeSideRow {
    pub interface: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct DnsClientRow {
    pub proto: &'static str,
    pub app: SocketAddr,
    pub server: SocketAddr,
}

#[derive(Clone, Debug, Serialize)]
pub struct DnsOriginalRow {
    pub socket_cookie: u64,
    pub server: SocketAddr,
}

#[derive(Clone, Debug, Serialize)]
pub struct OutcomeRow {
    pub outcome: &'static str,
    pub packets: u64,
}

impl MapDump {
    pub fn is_empty(&self) -> bool {
        match &self.rows {
            Rows::Flows(rows) => rows.is_empty(),
            Rows::Vips(rows) => rows.is_empty(),
            Rows::VirtualAddresses(rows) => rows.is_empty(),
            Rows::Nat(rows) => rows.is_empty(),
            Rows::Recursion(rows) => rows.is_empty(),
            Rows::NodeSide(rows) => rows.is_empty(),
            Rows::DnsClients(rows) => rows.is_empty(),
            Rows::DnsOriginals(rows) => rows.is_empty(),
            Rows::Outcomes(rows) => rows.is_empty(),
        }
    }
}
