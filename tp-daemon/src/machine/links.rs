//! `RTM_NEWLINK` and `RTM_NEWADDR` as links and addresses.

use ipnet::IpNet;
use tp_core::machine::{Address, Link};

use super::attributes::{Attributes, word};
use super::kernel::Message;

/// `ifinfomsg`: family, type, index, flags, change.
const LINK_FIXED: usize = 16;
/// `ifaddrmsg`: family, prefix length, flags, scope, index.
const ADDRESS_FIXED: usize = 8;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 1 << 3;
const IFF_POINTOPOINT: u32 = 1 << 4;

pub(super) fn link(message: &Message) -> Option<Link> {
    let payload = &message.payload;
    let (index, flags) = (word(payload, 4)?, word(payload, 8)?);
    let attributes = Attributes::of(payload.get(LINK_FIXED..)?);
    Some(Link {
        index,
        name: attributes.text(IFLA_IFNAME)?,
        kind: attributes.nested(IFLA_LINKINFO).and_then(|info| info.text(IFLA_INFO_KIND)).unwrap_or_default(),
        loopback: flags & IFF_LOOPBACK != 0,
        point_to_point: flags & IFF_POINTOPOINT != 0,
        up: flags & IFF_UP != 0,
    })
}

/// On a point-to-point link the prefix is of the peer's network, and our own address is alone.
pub(super) fn address(message: &Message) -> Option<Address> {
    let payload = &message.payload;
    let (prefix, link) = (*payload.get(1)?, word(payload, 4)?);
    let attributes = Attributes::of(payload.get(ADDRESS_FIXED..)?);
    let (own, peer) = (attributes.ip(IFA_LOCAL), attributes.ip(IFA_ADDRESS));
    let net = match (own, peer) {
        (Some(own), Some(peer)) if own != peer => IpNet::from(own),
        (own, peer) => IpNet::new(own.or(peer)?, prefix).ok()?,
    };
    Some(Address { link, net })
}

/// Name of the link that a message is about.
pub(super) fn name(payload: &[u8]) -> Option<String> {
    Attributes::of(payload.get(LINK_FIXED..)?).text(IFLA_IFNAME)
}

/// Index of the link that an address is on.
pub(super) fn link_of_address(payload: &[u8]) -> Option<u32> {
    word(payload, 4)
}
