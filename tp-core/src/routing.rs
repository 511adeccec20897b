//! What the user wants of the routes: the settings of `routing.*` and their flags.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Class E, which nobody uses; Telepresence's choice too.
pub const VIRTUAL_SUBNET_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(246, 246, 0, 0), 16);
/// Out of the unique local addresses (RFC 4193).
pub const VIRTUAL_SUBNET_V6: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd74, 0x7076, 0, 0, 0, 0, 0, 0), 64);

/// The settings, all sources merged. The subnets of the manager's ClusterInfo are added to these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Routing {
    pub also_proxy: Vec<IpNet>,
    pub never_proxy: Vec<IpNet>,
    pub allow_conflicting: Vec<IpNet>,
    pub proxy_via: Vec<ProxyVia>,
    pub virtual_subnet_v4: Ipv4Net,
    pub virtual_subnet_v6: Ipv6Net,
    /// Whether a conflict that nobody allowed resolves itself by virtual addresses.
    pub auto_resolve: bool,
    /// Whether connects from the side of the cluster's nodes are kept out of the tunnel.
    pub recursion_guard: bool,
    /// Zero: off.
    pub recursion_block: Duration,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            also_proxy: Vec::new(),
            never_proxy: Vec::new(),
            allow_conflicting: Vec::new(),
            proxy_via: Vec::new(),
            virtual_subnet_v4: VIRTUAL_SUBNET_V4,
            virtual_subnet_v6: VIRTUAL_SUBNET_V6,
            auto_resolve: true,
            recursion_guard: true,
            recursion_block: Duration::ZERO,
        }
    }
}

/// One `--proxy-via` or `--vnat`: what is hidden behind virtual addresses, and where its flows leave.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProxyVia {
    pub what: Proxied,
    pub exit: Exit,
}

/// A subnet, or the name of some.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Proxied {
    Net(IpNet),
    /// Everything of `--also-proxy`.
    Also,
    /// The cluster's service subnets.
    Service,
    /// The cluster's pod subnets.
    Pods,
    /// The three together.
    All,
}

/// Where a flow to a virtual address leaves.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Exit {
    Manager,
    /// An agent of this workload.
    Workload(String),
}

impl ProxyVia {
    /// `--vnat CIDR|symbol`: the manager is the exit.
    pub fn vnat(text: &str) -> Result<Self, String> {
        Ok(Self { what: text.parse()?, exit: Exit::Manager })
    }
}

impl FromStr for ProxyVia {
    type Err = String;

    /// `CIDR=WORKLOAD`, `symbol=WORKLOAD`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (what, workload) = text.split_once('=').ok_or_else(|| {
            format!("{text:?} is no CIDR=WORKLOAD; without a workload, `--vnat {text}` uses the manager as the exit")
        })?;
        let workload = workload.trim();
        if workload.is_empty() || workload.contains(|c: char| c.is_whitespace() || c == '=') {
            return Err(format!("{text:?} names no workload after the `=`"));
        }
        Ok(Self { what: what.parse()?, exit: Exit::Workload(workload.to_owned()) })
    }
}

impl fmt::Display for ProxyVia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.exit {
            Exit::Manager => self.what.fmt(f),
            Exit::Workload(name) => write!(f, "{}={name}", self.what),
        }
    }
}

impl FromStr for Proxied {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "also" => Ok(Self::Also),
            "service" => Ok(Self::Service),
            "pods" => Ok(Self::Pods),
            "all" => Ok(Self::All),
            cidr => cidr.parse::<IpNet>().map(|net| Self::Net(net.trunc())).map_err(|_| {
                format!("{cidr:?} is neither ADDRESS/LENGTH nor one of also, service, pods, all")
            }),
        }
    }
}

impl fmt::Display for Proxied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => net.fmt(f),
            Self::Also => f.write_str("also"),
            Self::Service => f.write_str("service"),
            Self::Pods => f.write_str("pods"),
            Self::All => f.write_str("all"),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manager => f.write_str("the manager"),
            Self::Workload(name) => write!(f, "an agent of {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_user_types() {
        let via: ProxyVia = "10.1.2.3/9=echo".parse().unwrap();
        assert_eq!(via.what, Proxied::Net("10.0.0.0/9".parse().unwrap()));
        assert_eq!(via.exit, Exit::Workload("echo".into()));
        assert_eq!("pods=echo".parse::<ProxyVia>().unwrap().to_string(), "pods=echo");
        assert_eq!(ProxyVia::vnat("all").unwrap(), ProxyVia { what: Proxied::All, exit: Exit::Manager });
    }

    #[test]
    fn what_a_user_mistypes() {
        let error = |text: &str| text.parse::<ProxyVia>().unwrap_err();
        assert_eq!(
            error("all"),
            "\"all\" is no CIDR=WORKLOAD; without a workload, `--vnat all` uses the manager as the exit"
        );
        assert_eq!(error("all="), "\"all=\" names no workload after the `=`");
        assert_eq!(
            error("pod=echo"),
            "\"pod\" is neither ADDRESS/LENGTH nor one of also, service, pods, all"
        );
        assert!(ProxyVia::vnat("10.0.0.0/33").is_err());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = text.parse::<ProxyVia>();
            let _ = ProxyVia::vnat(&text);
        }

        #[test]
        fn what_is_shown_parses_again(ip: [u8; 4], length in 0u8..=32, workload in "[a-z][a-z0-9-]{0,9}") {
            let net = IpNet::new(ip.into(), length).unwrap().trunc();
            let via = ProxyVia { what: Proxied::Net(net), exit: Exit::Workload(workload) };
            prop_assert_eq!(via.to_string().parse::<ProxyVia>().unwrap(), via);
        }
    }
}
