//! A network that the cluster and the workstation both use.

use std::net::IpAddr;

use ipnet::IpNet;
use thiserror::Error;

/// One overlap of a network that is wanted with one that the workstation uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The cluster's whole subnet.
    pub subnet: IpNet,
    pub origin: Origin,
    /// What both want: the smaller of the two networks.
    pub overlap: IpNet,
    pub way: InTheWay,
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
    /// The name of the device; empty for a route without one.
    pub device: String,
    pub gateway: Option<IpAddr>,
    /// The routing table; None for an address.
    pub table: Option<u32>,
    pub kind: DeviceKind,
    /// What the kernel alone knew, such as the rule of a live check.
    pub note: Option<String>,
}

/// A route, or an interface's address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Taken {
    Route(IpNet),
    Address(IpAddr),
}

impl std::fmt::Display for InTheWay {
    /// `10.0.0.0/8 dev wg0 (VPN)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.what {
            Taken::Route(network) => write!(f, "{network}")?,
            Taken::Address(address) => write!(f, "{address}")?,
        }
        if !self.device.is_empty() {
            write!(f, " dev {}", self.device)?;
        }
        write!(f, " ({:?})", self.kind)
    }
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
    /// A route that throws packets away: blackhole, unreachable, prohibit.
    Blackhole,
    Other,
}

/// The pool of virtual addresses cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the virtual subnet {} is in use on this machine", .conflict.subnet)]
pub struct VirtualSubnetConflict {
    pub conflict: Conflict,
}

/// The command as the user gave it, without flags about routes: `sudo tp connect --context lab`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandLine(pub String);

impl Default for CommandLine {
    fn default() -> Self {
        Self("sudo tp connect".into())
    }
}

/// The text of the error: all conflicts, and the ways out with the exact commands.
pub fn explain(conflicts: &[Conflict], command: &CommandLine) -> String {
    let _ = command;
    let line = |conflict: &Conflict| format!("{} overlaps with {:?}", conflict.subnet, conflict.way.what);
    conflicts.iter().map(line).collect::<Vec<_>>().join("\n")
}
