//! Links, addresses, routes and rules over rtnetlink, in whichever namespace the calling thread is.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

/// A netlink socket; its answers are read by a task of the current runtime.
#[derive(Clone)]
pub(super) struct Netlink(Handle);

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// Index of a link, `None` if there is none of that name.
    pub(super) async fn index(&self, name: &str) -> io::Result<Option<u32>> {
        let found = self.0.link().get().match_name(name.to_owned()).execute().try_next().await;
        match found {
            Ok(link) => Ok(link.map(|link| link.header.index)),
            Err(error) => match to_io(error) {
                error if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
                error => Err(error),
            },
        }
    }

    /// The hardware address of a link.
    pub(super) async fn mac(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let link = self.0.link().get().match_name(name.to_owned()).execute().try_next().await;
        let attributes = link.map_err(to_io)?.map(|link| link.attributes).unwrap_or_default();
        Ok(attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(mac) => Some(mac),
            _ => None,
        }))
    }

    pub(super) async fn delete(&self, index: u32) -> io::Result<()> {
        self.0.link().del(index).execute().await.map_err(to_io)
    }

    pub(super) async fn up(&self, index: u32) -> io::Result<()> {
        let message = LinkUnspec::new_with_index(index).up().build();
        self.0.link().change(message).set_flags(ACKNOWLEDGED).execute().await.map_err(to_io)
    }

    pub(super) async fn set_mtu(&self, index: u32, mtu: u32) -> io::Result<()> {
        let message = LinkUnspec::new_with_index(index).mtu(mtu).build();
        self.0.link().change(message).set_flags(ACKNOWLEDGED).execute().await.map_err(to_io)
    }

    /// A veth pair without ARP, `name` here and `peer` in another namespace, both with the same MAC address.
    pub(super) async fn add_pair(
        &self,
        name: &str,
        peer: &str,
        peer_namespace: BorrowedFd<'_>,
        mac: [u8; 6],
        mtu: u32,
    ) -> io::Result<()> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(peer)
            .address(mac.to_vec())
            .mtu(mtu)
            .arp(false)
            .setns_by_fd(peer_namespace.as_raw_fd())
            .build();
        let pair = LinkVeth::new(name, "")
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .address(mac.to_vec())
            .mtu(mtu)
            .arp(false)
            .build();
        self.0.link().add(pair).execute().await.map_err(to_io)
    }

    pub(super) async fn add_address(&self, index: u32, ip: IpAddr, prefix: u8) -> io::Result<()> {
        let mut request = self.0.address().add(index, ip, prefix);
        // nobody else is on our links; until the kernel has asked, an IPv6 address is no source for a route
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        match request.execute().await.map_err(to_io) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            result => result,
        }
    }

    /// The networks that are routed to a link, and in which tables.
    pub(super) async fn routes_to(&self, link: u32) -> io::Result<BTreeSet<(IpNet, u32)>> {
        let mut found = BTreeSet::new();
        let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
        for everything in [v4, v6] {
            let mut routes = self.0.route().get(everything).execute();
            while let Some(route) = routes.try_next().await.map_err(to_io)? {
                found.extend(Placed::read(&route).filter(|placed| placed.link == link).map(Placed::place));
            }
        }
        Ok(found)
    }

    pub(super) async fn add_route(&self, route: &Route) -> io::Result<()> {
        self.0.route().add(route.message()?).execute().await.map_err(to_io)
    }

    /// No error if it is gone already.
    pub(super) async fn remove_route(&self, route: &Route) -> io::Result<()> {
        match self.0.route().del(route.message()?).execute().await.map_err(to_io) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENODEV)) => Ok(()),
            result => result,
        }
    }
}

/// Where a route of the kernel's leads.
struct Placed {
    network: IpNet,
    table: u32,
    link: u32,
}

impl Placed {
    /// `None` for a route to no link, and for a default route: none of ours is one.
    fn read(route: &RouteMessage) -> Option<Self> {
        let (mut ip, mut table, mut link) = (None, u32::from(route.header.table), None);
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(v4)) => ip = Some(IpAddr::from(*v4)),
                RouteAttribute::Destination(RouteAddress::Inet6(v6)) => ip = Some(IpAddr::from(*v6)),
                RouteAttribute::Table(number) => table = *number, // the header has room for one byte
                RouteAttribute::Oif(index) => link = Some(*index),
                _ => {}
            }
        }
        let network = IpNet::new(ip?, route.header.destination_prefix_length).ok()?;
        Some(Self { network, table, link: link? })
    }

    fn place(self) -> (IpNet, u32) {
        (self.network, self.table)
    }
}

/// A policy rule: which table answers, for packets that came in by `from` or for all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) v6: bool,
    pub(super) priority: u32,
    pub(super) from: Option<&'static str>,
    pub(super) table: u32,
}

impl Netlink {
    pub(super) async fn add_rule(&self, rule: Rule) -> io::Result<()> {
        let mut request = self.0.rule().add();
        *request.message_mut() = rule.message();
        let sent = if rule.v6 { request.v6().execute().await } else { request.v4().execute().await };
        sent.map_err(to_io)
    }

    pub(super) async fn remove_rule(&self, rule: Rule) -> io::Result<()> {
        self.0.rule().del(rule.message()).execute().await.map_err(to_io)
    }
}

impl Rule {
    fn message(self) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = if self.v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        message.header.action = RuleAction::ToTable;
        message.attributes = vec![RuleAttribute::Priority(self.priority), RuleAttribute::Table(self.table)];
        message.attributes.extend(self.from.map(|from| RuleAttribute::Iifname(from.to_owned())));
        message
    }
}

/// NLM_F_REQUEST | NLM_F_ACK: change a link, never create one.
const ACKNOWLEDGED: u16 = 0x01 | 0x04;

/// The congestion control of TCP that never leaves this machine: in every kernel, and without the timers of one that paces
/// (BBR), which is what many machines have as their default.
pub(super) const NO_PACING: &str = "reno";

/// The routes we make.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// Through a link, with a preferred source address.
    Via { network: IpNet, link: u32, source: Option<IpAddr>, table: u32 },
    /// Delivered here: `ip route add local NETWORK dev lo`.
    Here { network: IpNet },
}

const LOOPBACK: u32 = 1;
pub(super) const TABLE_LOCAL: u32 = 255;

impl Route {
    fn message(&self) -> io::Result<RouteMessage> {
        let builder = RouteMessageBuilder::<IpAddr>::new();
        let message = match self {
            Self::Via { network, link, source, table } => {
                let mut builder = destination(builder, *network)?.output_interface(*link).table_id(*table);
                if let Some(source) = source {
                    builder = builder.pref_source(*source).map_err(io::Error::other)?;
                }
                let scope = if network.addr().is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
                let mut message = builder.scope(scope).build();
                let congestion = RouteMetric::CcAlgo(NO_PACING.to_owned());
                message.attributes.push(RouteAttribute::Metrics(vec![congestion]));
                return Ok(message);
            }
            Self::Here { network } => destination(builder, *network)?
                .output_interface(LOOPBACK)
                .kind(RouteType::Local)
                .scope(if network.addr().is_ipv4() { RouteScope::Host } else { RouteScope::Universe })
                .table_id(TABLE_LOCAL),
        };
        Ok(message.build())
    }
}

fn destination(builder: RouteMessageBuilder<IpAddr>, to: IpNet) -> io::Result<RouteMessageBuilder<IpAddr>> {
    builder.destination_prefix(to.network(), to.prefix_len()).map_err(io::Error::other)
}

fn to_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}
