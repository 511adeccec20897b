//! Names that the user gave another meaning: `dns.mappings`.

use std::fmt;
use std::net::IpAddr;

use super::Name;

/// `name` stands for `target`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Mapping {
    pub name: Name,
    pub target: Target,
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Target {
    Address(IpAddr),
    /// Looked up in the cluster.
    Name(Name),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => ip.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}
