//! `ClusterInfo` of the wire to the view that tp-core decides on.

use tp_core::cluster::ClusterView;

use crate::manager::{ClusterInfo, IpNet as WireNet};
use crate::net::{ip_from_wire, net_from_wire};

/// What a manager reported. Malformed subnets are left out: one of them must not cost the others.
pub fn view_from_wire(info: &ClusterInfo) -> ClusterView {
    let nets = |nets: &[WireNet]| nets.iter().filter_map(net_from_wire).collect::<Vec<_>>();
    let mut service_subnets = nets(&info.service_subnets);
    if let Some(first) = info.service_subnet.as_ref().and_then(net_from_wire)
        && !service_subnets.contains(&first)
    {
        service_subnets.insert(0, first);
    }
    let routing = info.routing.clone().unwrap_or_default();
    let dns = info.dns.clone().unwrap_or_default();
    let domain = dns.cluster_domain.trim_matches('.');
    ClusterView {
        service_subnets,
        pod_subnets: nets(&info.pod_subnets),
        also_proxy: nets(&routing.also_proxy_subnets),
        never_proxy: nets(&routing.never_proxy_subnets),
        allow_conflicting: nets(&routing.allow_conflicting_subnets),
        node_addresses: info.node_addresses.iter().filter_map(|ip| ip_from_wire(ip)).collect(),
        manager_pod_ip: ip_from_wire(&info.manager_pod_ip),
        // an empty domain would make every name a cluster name (facts §5)
        cluster_domain: if domain.is_empty() { "cluster.local".into() } else { domain.to_ascii_lowercase() },
        include_suffixes: dns.include_suffixes,
        exclude_suffixes: dns.exclude_suffixes,
        namespaces: info.namespaces.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::Dns;

    #[test]
    fn a_bad_subnet_does_not_cost_the_others() {
        let good = WireNet { ip: vec![10, 244, 0, 0].into(), mask: 16 };
        let bad = WireNet { ip: vec![10].into(), mask: 16 };
        let info = ClusterInfo {
            service_subnet: Some(WireNet { ip: vec![10, 96, 0, 0].into(), mask: 16 }),
            pod_subnets: vec![bad, good],
            dns: Some(Dns { cluster_domain: "Cluster.Local.".into(), ..Dns::default() }),
            ..ClusterInfo::default()
        };
        let view = view_from_wire(&info);
        assert_eq!(view.service_subnets, ["10.96.0.0/16".parse().unwrap()]);
        assert_eq!(view.pod_subnets, ["10.244.0.0/16".parse().unwrap()]);
        assert_eq!(view.cluster_domain, "cluster.local");
    }
}
