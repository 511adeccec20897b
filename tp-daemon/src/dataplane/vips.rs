//! Which virtual addresses are rewritten, and into what. No I/O.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use tp_core::vips::Change;

/// The VIPs that stand for another address inside. All the others are themselves there, and need no entry.
#[derive(Default)]
pub(super) struct VipTable {
    rewritten: HashMap<IpAddr, IpAddr>,
    /// There has been an entry.
    used: bool,
    /// What is local in the private namespace.
    inside: Vec<IpNet>,
}

/// What the kernel's map must learn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Edit {
    Set(IpAddr, IpAddr),
    Remove(IpAddr),
}

impl VipTable {
    /// The address inside that a destination stands for.
    pub(super) fn inside(&self, dest: IpAddr) -> IpAddr {
        self.rewritten.get(&dest).copied().unwrap_or(dest)
    }

    /// Whether the last entry has gone since this was asked last.
    pub(super) fn no_more(&mut self) -> bool {
        self.rewritten.is_empty() && std::mem::take(&mut self.used)
    }

    pub(super) fn change(&mut self, change: Change) -> Option<Edit> {
        match change {
            Change::Add { vip, inside } if self.can_stand_for(vip, inside) => {
                self.used = true;
                let before = self.rewritten.insert(vip, inside);
                (before != Some(inside)).then_some(Edit::Set(vip, inside))
            }
            Change::Add { vip, .. } | Change::Remove { vip } => self.stays(vip),
        }
    }

    /// The VIP is what it is inside too.
    pub(super) fn stays(&mut self, vip: IpAddr) -> Option<Edit> {
        self.rewritten.remove(&vip).map(|_| Edit::Remove(vip))
    }

    /// Other networks are local inside. A VIP that has become itself stays so until it is added again: it may have
    /// flows.
    pub(super) fn set_inside(&mut self, networks: Vec<IpNet>) -> Vec<Edit> {
        self.inside = networks;
        let lost = |(vip, inside): (&IpAddr, &IpAddr)| (!self.can_stand_for(*vip, *inside)).then_some(*vip);
        let lost: Vec<IpAddr> = self.rewritten.iter().filter_map(lost).collect();
        lost.into_iter().filter_map(|vip| self.stays(vip)).collect()
    }

    /// A rewritten packet must find its address local, and rewriting cannot change an address's length.
    fn can_stand_for(&self, vip: IpAddr, inside: IpAddr) -> bool {
        vip != inside
            && vip.is_ipv4() == inside.is_ipv4()
            && may_live_inside(&inside.into())
            && self.inside.iter().any(|network| network.contains(&inside))
    }
}

/// Whether a network may be local in the private namespace. Loopback, link-local and multicast mean something else to
/// every kernel, and the limited broadcast and the unset address are nobody's.
pub(super) fn may_live_inside(network: &IpNet) -> bool {
    match network {
        IpNet::V4(v4) => {
            let ip = v4.network();
            let first = ip.octets()[0];
            first != 0 && first != 127 && !ip.is_link_local() && !ip.is_multicast() && !ip.is_broadcast()
        }
        IpNet::V6(v6) => {
            let ip = v6.network();
            let link_local = ip.segments()[0] & 0xffc0 == 0xfe80;
            !ip.is_unspecified() && !ip.is_loopback() && !link_local && !ip.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn add(vip: &str, inside: &str) -> Change {
        Change::Add { vip: ip(vip), inside: ip(inside) }
    }

    fn table() -> VipTable {
        let mut table = VipTable::default();
        table.set_inside(vec!["10.96.0.0/16".parse().unwrap(), "fd96::/16".parse().unwrap()]);
        table
    }

    #[test]
    fn only_an_address_that_is_local_inside_takes_a_vips_place() {
        let mut table = table();
        let set = Edit::Set(ip("246.246.0.1"), ip("10.96.0.5"));
        assert_eq!(table.change(add("246.246.0.1", "10.96.0.5")), Some(set));
        assert_eq!(table.change(add("246.246.0.1", "10.96.0.5")), None, "known already");
        for inside in ["246.246.0.2", "10.97.0.1", "127.0.0.1", "169.254.1.1", "224.0.0.1", "fd96::5"] {
            assert_eq!(table.change(add("246.246.0.2", inside)), None, "{inside}");
            assert_eq!(table.inside(ip("246.246.0.2")), ip("246.246.0.2"));
        }
        assert_eq!(table.inside(ip("246.246.0.1")), ip("10.96.0.5"));
        table.set_inside(vec!["0.0.0.0/0".parse().unwrap()]);
        for special in ["127.0.0.1", "169.254.1.1", "224.0.0.1", "0.0.0.0", "255.255.255.255"] {
            assert_eq!(table.change(add("246.246.0.2", special)), None, "{special}");
        }
        let removed = table.change(Change::Remove { vip: ip("246.246.0.1") });
        assert_eq!(removed, Some(Edit::Remove(ip("246.246.0.1"))));
        assert!(table.no_more() && !table.no_more());
    }

    #[test]
    fn a_vip_whose_network_goes_becomes_itself_and_stays_so() {
        let mut table = table();
        table.change(add("246.246.0.1", "10.96.0.5")).unwrap();
        assert_eq!(table.set_inside(Vec::new()), [Edit::Remove(ip("246.246.0.1"))]);
        assert_eq!(table.set_inside(vec!["10.0.0.0/8".parse().unwrap()]), []);
        assert_eq!(table.inside(ip("246.246.0.1")), ip("246.246.0.1"));
        assert!(table.change(add("246.246.0.1", "10.96.0.5")).is_some());
    }

    #[test]
    fn what_every_kernel_keeps_to_itself_does_not_live_inside() {
        let may = |text: &str| may_live_inside(&text.parse().unwrap());
        for no in ["127.0.0.0/8", "127.8.0.1/32", "0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "::1/128"] {
            assert!(!may(no), "{no}");
        }
        assert!(!may("fe80::/10") && !may("ff00::/8") && !may("::/128") && !may("255.255.255.255/32"));
        assert!(may("246.246.0.0/16") && may("10.0.0.0/8") && may("fd96::/16") && may("100.64.0.0/10"));
    }
}
