//! A network that the cluster and the workstation both use.

mod devices;
mod explain;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use thiserror::Error;

pub use self::explain::{CommandLine, Explanation, explain};

/// One overlap of a network that is wanted with one that the workstation uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The cluster's whole subnet.
    pub subnet: IpNet,
    pub origin: Origin,
    /// What both want: the smaller of the two networks.
    pub overlap: IpNet,
    pub way: InTheWay,
    /// Whether a route of ours could win if the user allows it. What the machine itself answers to cannot be beaten,
    /// and nothing is more specific than one address.
    pub beatable: bool,
}

/// Where a wanted network comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Origin {
    Service,
    Pods,
    AlsoProxy,
    /// The pool of virtual addresses.
    Virtual,
}

/// What the workstation uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InTheWay {
    pub what: Taken,
    /// The name of the device; empty for what has none.
    pub device: String,
    pub gateway: Option<IpAddr>,
    /// The routing table; None for what is no route.
    pub table: Option<u32>,
    pub kind: DeviceKind,
    pub note: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Taken {
    Route(IpNet),
    /// Of an interface.
    Address(IpAddr),
    /// A policy rule of this priority refuses the packets.
    Rule(u32),
    /// No policy rule leads to a table that our routes could be in.
    AllRules,
    /// Of the cluster; in the way of virtual addresses only.
    Cluster(IpNet),
    /// Loopback, multicast and the like.
    Special(IpNet),
    /// The daemon's own, or a resolver's.
    Own(IpNet),
}

/// What sort of device a route leaves by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DeviceKind {
    Vpn,
    DockerBridge,
    /// Another bridge: of virtual machines, of a container network.
    Bridge,
    Lan,
    Loopback,
    /// What throws packets away: a blackhole, unreachable or prohibit route or rule.
    Blackhole,
    Other,
}

/// The pool of virtual addresses cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the virtual subnet {} cannot be used: in the way is {}", .conflict.subnet, .conflict.way)]
pub struct VirtualSubnetConflict {
    pub conflict: Box<Conflict>,
    /// Another one that could.
    pub free: Option<IpNet>,
}

impl VirtualSubnetConflict {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let v6 = matches!(self.conflict.subnet, IpNet::V6(_));
        let setting = if v6 { "routing.virtualSubnetV6" } else { "routing.virtualSubnet" };
        match self.free {
            Some(free) => format!("nobody uses {free} here: set `{setting}: {free}` in config.yml"),
            None => format!("set `{setting}` in config.yml to a network that nobody uses here"),
        }
    }
}

impl InTheWay {
    pub(crate) fn without_device(what: Taken, kind: DeviceKind) -> Self {
        Self { what, device: String::new(), gateway: None, table: None, kind, note: None }
    }
}

impl fmt::Display for InTheWay {
    /// `10.0.0.0/8 via 10.8.0.1 dev tun0 table 52 (VPN)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            Taken::Route(network) => network.fmt(f)?,
            Taken::Address(ip) => write!(f, "this machine's address {ip}")?,
            Taken::Rule(priority) => write!(f, "policy rule {priority}")?,
            Taken::AllRules => f.write_str("the policy rules, none of which leads to the main table")?,
            Taken::Cluster(network) => write!(f, "the cluster's own {network}")?,
            Taken::Special(network) => write!(f, "the meaning of {network}, which cannot be routed")?,
            Taken::Own(network) => {
                write!(f, "{network}, which tp itself or a resolver of this machine uses")?;
            }
        }
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if !self.device.is_empty() {
            write!(f, " dev {}", self.device)?;
        }
        if let Some(table) = self.table.filter(|table| *table != crate::machine::MAIN) {
            write!(f, " table {table}")?;
        }
        match (self.kind, self.what) {
            (DeviceKind::Other, Taken::Cluster(_) | Taken::Special(_) | Taken::Own(_) | Taken::AllRules) => {}
            (kind, _) => write!(f, " ({kind})")?,
        }
        self.note.as_ref().map_or(Ok(()), |note| write!(f, ", {note}"))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "services",
            Self::Pods => "pods",
            Self::AlsoProxy => "also-proxy",
            Self::Virtual => "virtual addresses",
        })
    }
}
