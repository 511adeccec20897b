//! Which destinations this manager dials for its clients.

use std::net::IpAddr;

use ipnet::IpNet;
use tp_core::addr::{ClusterAddr, unmapped};

/// What a client may reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Policy {
    /// Whatever a pod reaches. That includes 169.254/16 on purpose: node-local DNS and the cloud's metadata service live
    /// there, and apps are to find them as they would in the cluster; who may is the network policy's decision.
    Cluster,
    /// Only these networks: whoever has the join URL is to reach what it was given for, not the machine itself.
    Only(Vec<IpNet>),
}

impl Policy {
    /// The manager's own loopback is not part of the cluster: what listens there was never meant for others. The
    /// unspecified address means loopback to connect(2), and multicast cannot be dialled.
    pub(super) fn allows(&self, destination: ClusterAddr) -> bool {
        let ip = unmapped(destination.ip());
        match self {
            Self::Cluster => !(is_own(ip) || ip.is_multicast()),
            Self::Only(nets) => nets.iter().any(|net| net.contains(&ip)) && !ip.is_unspecified(),
        }
    }
}

fn is_own(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.octets()[0] == 0 || ip.is_broadcast(),
        IpAddr::V6(ip) => {
            // fe80::/10 means nothing without an interface, and ::a.b.c.d has long been abolished
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unicast_link_local()
                || ip.octets()[..12] == [0; 12]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(policy: &Policy, ip: &str) -> bool {
        policy.allows(ClusterAddr::new(ip.parse::<IpAddr>().unwrap(), 80))
    }

    #[test]
    fn a_cluster_is_all_but_the_managers_own_loopback() {
        for ip in ["10.96.0.1", "8.8.8.8", "169.254.169.254", "169.254.20.10", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(allowed(&Policy::Cluster, ip), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
        ] {
            assert!(!allowed(&Policy::Cluster, ip), "{ip}");
        }
    }

    #[test]
    fn a_list_of_networks_is_all_there_is() {
        let policy = Policy::Only(vec!["10.9.0.0/16".parse().unwrap()]);
        assert!(allowed(&policy, "10.9.0.1"));
        assert!(allowed(&policy, "::ffff:10.9.0.1"));
        for ip in ["10.8.0.1", "127.0.0.1", "::1", "0.0.0.0"] {
            assert!(!allowed(&policy, ip), "{ip}");
        }
        assert!(allowed(&Policy::Only(vec!["127.0.0.1/32".parse().unwrap()]), "127.0.0.1"));
        assert!(!allowed(&Policy::Only(vec!["0.0.0.0/0".parse().unwrap()]), "0.0.0.0"));
    }
}
