//! What a workstation's kernel knows about its networks: links, addresses, routes and policy rules.
//!
//! Plain data, so that every decision about routes can be tried without a machine.

use std::net::IpAddr;

use ipnet::IpNet;

/// One look at a machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Machine {
    pub links: Vec<Link>,
    pub addresses: Vec<Address>,
    pub routes: Vec<Route>,
    /// Both families. The kernel goes by priority; equal ones in this order. A family without any goes by `local` and
    /// `main`, as a kernel without policy rules does.
    pub rules: Vec<Rule>,
    /// The servers that answer names on this machine.
    pub resolvers: Vec<IpAddr>,
}

/// A network device.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// `IFLA_INFO_KIND`: `wireguard`, `tun`, `bridge`, ...; empty for a physical device.
    pub kind: String,
    pub loopback: bool,
    pub point_to_point: bool,
    /// Administratively (`IFF_UP`). A Docker bridge without containers has no carrier and is up.
    pub up: bool,
}

/// An address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    pub link: u32,
    /// With its host bits: `192.168.1.17/24`.
    pub net: IpNet,
}

/// A route of any table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    pub table: u32,
    pub network: IpNet,
    pub kind: RouteKind,
    /// None for a route without a device, such as `blackhole`.
    pub link: Option<u32>,
    pub gateway: Option<IpAddr>,
    pub metric: u32,
}

/// `RTN_*`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RouteKind {
    Unicast,
    Local,
    Broadcast,
    Blackhole,
    Unreachable,
    Prohibit,
    Throw,
    Other,
}

/// A policy rule. A selector that is `None` selects everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    pub priority: u32,
    pub v6: bool,
    pub action: RuleAction,
    pub from: Option<IpNet>,
    pub to: Option<IpNet>,
    /// Value and mask.
    pub fwmark: Option<(u32, u32)>,
    /// `not`: what the selectors do not select.
    pub invert: bool,
    pub iif: Option<String>,
    pub oif: Option<String>,
    /// First and last.
    pub uids: Option<(u32, u32)>,
    pub suppress_prefix_length: Option<u32>,
    /// A selector that is not told apart here: protocol, ports, TOS, tunnel id, l3mdev.
    pub other_selector: bool,
}

/// What a rule does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RuleAction {
    Table(u32),
    /// On to the first rule of that priority.
    Goto(u32),
    Nop,
    Blackhole,
    Unreachable,
    Prohibit,
}

/// `RT_TABLE_MAIN`.
pub const MAIN: u32 = 254;
/// `RT_TABLE_LOCAL`.
pub const LOCAL: u32 = 255;

impl Machine {
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }
}

impl Rule {
    /// A rule without a selector: `from all lookup TABLE`.
    pub fn lookup(v6: bool, priority: u32, table: u32) -> Self {
        Self {
            priority,
            v6,
            action: RuleAction::Table(table),
            from: None,
            to: None,
            fwmark: None,
            invert: false,
            iif: None,
            oif: None,
            uids: None,
            suppress_prefix_length: None,
            other_selector: false,
        }
    }
}
