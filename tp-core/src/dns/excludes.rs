//! Names that the user does not want to be asked for in the cluster: `dns.excludes`.

use super::{DnsConfig, Name};

/// The names, and what resolvers put after them on their own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Excludes {
    names: Vec<Name>,
    search: Vec<Name>,
}

impl Excludes {
    pub(super) fn new(config: &DnsConfig, machine_search: &[String]) -> Self {
        let names = config.excludes.iter().filter_map(|name| Name::parse(name)).collect();
        let domain = config.cluster_domain.trim_matches('.');
        let mut search = vec!["svc".to_owned(), format!("svc.{domain}"), domain.to_owned()];
        for namespace in config.namespaces.iter().chain([&config.namespace]) {
            search.extend([
                namespace.clone(),
                format!("{namespace}.svc"),
                format!("{namespace}.svc.{domain}"),
            ]);
        }
        search.extend(machine_search.iter().cloned());
        Self { names, search: search.iter().filter_map(|suffix| Name::suffix(suffix)).collect() }
    }

    pub(super) fn has(&self, name: &Name) -> bool {
        self.names.iter().any(|excluded| {
            let rest = name.as_str().strip_prefix(excluded.as_str());
            rest.is_some_and(|rest| match rest.strip_prefix('.') {
                Some(suffix) => self.search.iter().any(|known| known.as_str() == suffix),
                None => rest.is_empty(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_excluded_with_every_search_domain_and_nothing_else_is() {
        let config = DnsConfig {
            cluster_domain: "cluster.local".to_owned(),
            namespace: "default".to_owned(),
            namespaces: vec!["blue".to_owned()],
            excludes: vec!["Printer".to_owned(), "www.example.org.".to_owned()],
            ..DnsConfig::default()
        };
        let excludes = Excludes::new(&config, &["lan.example".to_owned()]);
        let has = |name: &str| excludes.has(&Name::parse(name).unwrap());
        for name in [
            "printer",
            "PRINTER.lan.example",
            "printer.blue",
            "printer.default.svc",
            "printer.default.svc.cluster.local",
            "printer.cluster.local",
            "www.example.org",
        ] {
            assert!(has(name), "{name}");
        }
        for name in
            ["printers", "a.printer", "printer.example", "printer.green", "example.org", "printerlan.example"]
        {
            assert!(!has(name), "{name}");
        }
    }
}
