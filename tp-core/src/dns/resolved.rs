//! What systemd-resolved is told about the TUN: which names to send to our server.

use super::{DnsConfig, Name, reverse};

/// systemd-resolved takes no more per link.
const MAX_DOMAINS: usize = 256;

/// One entry of `SetLinkDomains`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LinkDomain {
    pub name: String,
    /// Names under it come to us, but it is not appended to short names.
    pub route_only: bool,
}

/// Search domains first, in the order a pod has them; then what is only routed.
pub fn link_domains(config: &DnsConfig) -> Vec<LinkDomain> {
    let mut search = Vec::new();
    if let Some(domain) = Name::suffix(&config.cluster_domain) {
        if let Some(namespace) = Name::suffix(&config.namespace) {
            search.push(format!("{namespace}.svc.{domain}"));
        }
        search.push(format!("svc.{domain}"));
        search.push(domain.to_string());
    }
    let route_only = config.namespaces.iter().chain([&config.namespace]).chain(&config.include_suffixes);
    let route_only = route_only.filter_map(|suffix| Name::suffix(suffix)).map(|name| name.to_string());
    let zones = config.subnets.iter().flat_map(|subnet| reverse::zones(*subnet));
    let mapped = config.mappings.iter().map(|mapping| mapping.name.to_string());
    let routed = ["svc".to_owned()].into_iter().chain(mapped).chain(route_only).chain(zones);

    let mut domains: Vec<LinkDomain> = Vec::new();
    let tagged = search.into_iter().map(|name| (name, false)).chain(routed.map(|name| (name, true)));
    for (name, route_only) in tagged {
        if domains.len() < MAX_DOMAINS && domains.iter().all(|domain| domain.name != name) {
            domains.push(LinkDomain { name, route_only });
        }
    }
    domains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_searched_as_in_a_pod_and_the_rest_is_only_routed() {
        let config = DnsConfig {
            cluster_domain: "cluster.local.".to_owned(),
            namespace: "default".to_owned(),
            namespaces: vec!["blue".to_owned(), "default".to_owned()],
            include_suffixes: vec![".corp".to_owned()],
            subnets: vec!["10.244.0.0/16".parse().unwrap()],
            ..DnsConfig::default()
        };
        let text: Vec<String> = link_domains(&config)
            .into_iter()
            .map(|domain| format!("{}{}", if domain.route_only { "~" } else { "" }, domain.name))
            .collect();
        assert_eq!(
            text,
            [
                "default.svc.cluster.local",
                "svc.cluster.local",
                "cluster.local",
                "~svc",
                "~blue",
                "~default",
                "~corp",
                "~244.10.in-addr.arpa"
            ]
        );
    }

    #[test]
    fn a_large_cluster_does_not_ask_for_more_than_resolved_takes() {
        let namespaces = (0..1000).map(|n| format!("team-{n}")).collect();
        let config =
            DnsConfig { cluster_domain: "cluster.local".to_owned(), namespaces, ..DnsConfig::default() };
        assert_eq!(link_domains(&config).len(), MAX_DOMAINS);
    }
}
