//! Which names are asked for when a client looks up `echo`: those a pod of the client's namespace would ask for.

use std::net::IpAddr;

/// What a pod's resolv.conf says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResolvConf {
    pub nameservers: Vec<IpAddr>,
    /// Without trailing dots.
    pub search: Vec<String>,
}

impl ResolvConf {
    /// Lines that are not understood are skipped, as every resolver does.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.split('%').next());
                    conf.nameservers.extend(address.and_then(|word| word.parse::<IpAddr>().ok()));
                }
                // the last of these lines counts
                Some("search" | "domain") => {
                    let names = words.map(|word| word.trim_end_matches('.').to_ascii_lowercase());
                    conf.search = names.filter(|name| !name.is_empty()).collect();
                }
                _ => {}
            }
        }
        conf
    }

    /// The cluster domain, without a trailing dot, out of `NAMESPACE.svc.DOMAIN` or `svc.DOMAIN`.
    pub fn cluster_domain(&self) -> Option<&str> {
        self.search.iter().find_map(|name| {
            let name = name.as_str();
            let domain = name.strip_prefix("svc.").or_else(|| name.split_once('.')?.1.strip_prefix("svc."));
            domain.filter(|domain| !domain.is_empty())
        })
    }
}

/// The rules of a pod's resolver, for any namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SearchPath {
    /// Without a trailing dot.
    domain: String,
    /// What the node adds to the cluster's own three entries.
    extra: Vec<String>,
}

/// As kubelet writes it: names with fewer dots are tried relative to the search list first.
const NDOTS: usize = 5;

impl SearchPath {
    pub fn new(domain: &str, conf: &ResolvConf) -> Self {
        let domain = domain.trim_matches('.').to_ascii_lowercase();
        let of_cluster = |name: &String| is_under(name, &domain);
        let extra = conf.search.iter().filter(|name| !of_cluster(name)).cloned().collect();
        Self { domain, extra }
    }

    /// Without a trailing dot.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether `name` can only be a name of the cluster.
    pub fn is_cluster_name(&self, name: &str) -> bool {
        is_under(&name.trim_end_matches('.').to_ascii_lowercase(), &self.domain)
    }

    /// Absolute names to ask for, in order; `name` with or without its trailing dot. A search list is no use for names
    /// of the cluster's own domain and for reverse names: asking would only cost time.
    pub fn candidates(&self, name: &str, namespace: &str) -> Vec<String> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let absolute = format!("{name}.");
        let relative = !name.is_empty()
            && name.bytes().filter(|b| *b == b'.').count() < NDOTS
            && !self.is_cluster_name(&name)
            && !is_under(&name, "arpa");
        if !relative {
            return vec![absolute];
        }
        let domain = &self.domain;
        let mut names = Vec::with_capacity(4 + self.extra.len());
        if !namespace.is_empty() {
            names.push(format!("{name}.{namespace}.svc.{domain}."));
        }
        names.push(format!("{name}.svc.{domain}."));
        names.push(format!("{name}.{domain}."));
        names.extend(self.extra.iter().map(|suffix| format!("{name}.{suffix}.")));
        names.push(absolute);
        names
    }
}

/// Whether `name` is `domain` or ends in it at a label boundary.
fn is_under(name: &str, domain: &str) -> bool {
    !domain.is_empty() && name.strip_suffix(domain).is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POD: &str = "search ambassador.svc.cluster.local svc.cluster.local cluster.local lan.example\n\
                       nameserver 10.96.0.10 # CoreDNS\nnameserver fe80::1%eth0\noptions ndots:5\n";

    fn path() -> SearchPath {
        let conf = ResolvConf::parse(POD);
        SearchPath::new(conf.cluster_domain().unwrap(), &conf)
    }

    #[test]
    fn resolv_conf_of_a_pod() {
        let conf = ResolvConf::parse(POD);
        assert_eq!(conf.nameservers, ["10.96.0.10".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
        assert_eq!(conf.cluster_domain(), Some("cluster.local"));
        assert_eq!(
            ResolvConf::parse("search a.b\nsearch svc.k8s.example.").cluster_domain(),
            Some("k8s.example")
        );
        assert_eq!(ResolvConf::parse("search lan.example").cluster_domain(), None);
        assert_eq!(ResolvConf::parse(""), ResolvConf::default());
    }

    #[test]
    fn a_single_label_is_looked_for_in_the_clients_namespace_first() {
        assert_eq!(
            path().candidates("echo.", "blue"),
            [
                "echo.blue.svc.cluster.local.",
                "echo.svc.cluster.local.",
                "echo.cluster.local.",
                "echo.lan.example.",
                "echo."
            ]
        );
        assert_eq!(path().candidates("Echo", "")[0], "echo.svc.cluster.local.");
    }

    #[test]
    fn names_that_are_complete_are_asked_for_as_they_are() {
        for name in [
            "echo.default.svc.cluster.local.",
            "cluster.local.",
            "10.0.96.10.in-addr.arpa.",
            "a.b.c.d.e.f.",
            ".",
        ] {
            assert_eq!(path().candidates(name, "default"), [name]);
        }
        // no label boundary: another domain
        assert_eq!(path().candidates("mycluster.local.", "default").len(), 5);
    }

    proptest! {
        #[test]
        fn the_name_itself_is_always_the_last_resort(name in "[a-zA-Z0-9_.-]{0,40}", namespace in "[a-z]{0,5}") {
            let names = path().candidates(&name, &namespace);
            let absolute = format!("{}.", name.trim_end_matches('.').to_ascii_lowercase());
            prop_assert_eq!(names.last(), Some(&absolute));
            prop_assert!(names.iter().all(|name| name.ends_with('.')));
        }

        #[test]
        fn any_resolv_conf_is_read_without_panic(text: String) {
            let conf = ResolvConf::parse(&text);
            let _ = SearchPath::new(conf.cluster_domain().unwrap_or_default(), &conf);
        }
    }
}
