//! Which names are the cluster's, which are the machine's own, and who is asked first.
//!
//! The rule behind all rules: a name that resolved before `tp connect` resolves to the same answer after it. Names
//! that only a cluster can know go to the cluster; what could be either is asked of both, in a fixed order.

pub mod cache;
mod excludes;
mod mapping;
pub mod message;
mod name;
pub mod resolved;
pub mod reverse;
pub mod rtype;
pub mod servers;

use std::collections::HashMap;
use std::time::Duration;

use ipnet::IpNet;

use excludes::Excludes;
pub use mapping::{Mapping, Target};
use message::Question;
pub use name::Name;

/// Suffixes that are the public internet's, unless the cluster says otherwise: no name under them is tried in the
/// cluster after the machine's own server did not know it. Telepresence's defaults.
pub const DEFAULT_EXCLUDE_SUFFIXES: [&str; 5] = [".com", ".io", ".net", ".org", ".ru"];

/// `service.namespace.svc`, with the port and protocol of an SRV record before it: no name without the cluster's
/// domain has more labels.
const MAX_SHORT_LABELS: usize = 5;

/// What the session tells about the cluster's names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsConfig {
    /// E.g. `cluster.local`.
    pub cluster_domain: String,
    /// Where single-label names live.
    pub namespace: String,
    /// Last labels that make `service.namespace` a name of the cluster.
    pub namespaces: Vec<String>,
    pub include_suffixes: Vec<String>,
    pub exclude_suffixes: Vec<String>,
    /// Names that are never asked for in the cluster.
    pub excludes: Vec<String>,
    /// Names that stand for an address or another name.
    pub mappings: Vec<Mapping>,
    /// For so long the cluster may look for a name.
    pub lookup_timeout: Duration,
    /// Networks routed to the cluster: reverse lookups of their addresses are the cluster's.
    pub subnets: Vec<IpNet>,
}

/// A little less than clients wait, so that they get an answer even when the cluster does not give one.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_millis(4500);

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            cluster_domain: String::new(),
            namespace: String::new(),
            namespaces: Vec::new(),
            include_suffixes: Vec::new(),
            exclude_suffixes: DEFAULT_EXCLUDE_SUFFIXES.map(str::to_owned).to_vec(),
            excludes: Vec::new(),
            mappings: Vec::new(),
            lookup_timeout: LOOKUP_TIMEOUT,
            subnets: Vec::new(),
        }
    }
}

/// Who answers a question.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// Only the cluster.
    Cluster,
    /// The cluster; the machine's own server if the cluster does not know the name.
    ClusterFirst,
    /// The machine's own server; the cluster if that does not know the name, fails or is slow.
    UpstreamFirst,
    /// Only the server that was asked, as before.
    Upstream,
    /// Nobody: it must not exist (proxy auto-configuration must never come out of a cluster).
    NotExist,
}

/// [`DnsConfig`] and what the machine's own configuration says, ready to judge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    cluster_domain: Option<Name>,
    namespaces: Vec<Name>,
    include: Vec<Name>,
    exclude: Vec<Name>,
    never: Excludes,
    mappings: HashMap<Name, Target>,
    machine_search: Vec<Name>,
    subnets: Vec<IpNet>,
}

impl Rules {
    /// `machine_search`: the search domains of the machine. Clients append them on their own, so a name under one of
    /// them is the machine's.
    pub fn new(config: &DnsConfig, machine_search: &[String]) -> Self {
        let cluster_domain = Name::suffix(&config.cluster_domain);
        let mut include = suffixes(&config.include_suffixes);
        include.extend(cluster_domain.clone());
        let mut namespaces = suffixes(&config.namespaces);
        namespaces.extend(Name::suffix(&config.namespace));
        namespaces.retain(|name| name.labels().count() == 1);
        Self {
            cluster_domain,
            namespaces,
            include,
            exclude: suffixes(&config.exclude_suffixes),
            never: Excludes::new(config, machine_search),
            mappings: config
                .mappings
                .iter()
                .map(|mapping| (mapping.name.clone(), mapping.target.clone()))
                .collect(),
            machine_search: suffixes(machine_search),
            subnets: config.subnets.clone(),
        }
    }

    pub fn judge(&self, question: &Question) -> Verdict {
        let Some(name) = &question.name else { return Verdict::Upstream };
        let Some(last) = name.labels().next_back() else { return Verdict::Upstream };
        // A server that walks the tree itself (or `dig +trace`) wants what that very server has, nothing else.
        if !question.recursion_desired {
            return Verdict::Upstream;
        }
        if self.mappings.contains_key(name) {
            return Verdict::Cluster;
        }
        if self.never.has(name) {
            return Verdict::Upstream;
        }
        if last == "arpa" {
            return self.judge_reverse(name);
        }
        let included = longest(&self.include, name);
        if longest(&self.exclude, name) > included {
            return Verdict::Upstream;
        }
        if included > 0 {
            return if is_wpad(name) { Verdict::NotExist } else { Verdict::Cluster };
        }
        self.judge_short(name, last, question.rtype)
    }

    /// What a name stands for that the user gave another meaning.
    pub fn mapped(&self, name: &Name) -> Option<&Target> {
        self.mappings.get(name)
    }

    pub fn cluster_domain(&self) -> Option<&Name> {
        self.cluster_domain.as_ref()
    }

    fn judge_reverse(&self, name: &Name) -> Verdict {
        match reverse::address(name) {
            Some(ip) if self.subnets.iter().any(|subnet| subnet.contains(&ip)) => Verdict::Cluster,
            _ => Verdict::Upstream,
        }
    }

    /// Names without the cluster's domain.
    fn judge_short(&self, name: &Name, last: &str, rtype: u16) -> Verdict {
        let labels = name.labels().count();
        if matches!(last, "localhost" | "local") || is_wpad(name) || rtype::of_zone(rtype) {
            return Verdict::Upstream;
        }
        if labels == 1 {
            return Verdict::ClusterFirst;
        }
        if last == "svc" {
            return Verdict::Cluster;
        }
        if labels > MAX_SHORT_LABELS {
            return Verdict::Upstream;
        }
        if self.namespaces.iter().any(|namespace| name.is_under(namespace)) {
            // A namespace may be called like a top-level domain: `dev`, `app`, `prod`.
            return Verdict::ClusterFirst;
        }
        if self.machine_search.iter().any(|search| name.is_under(search)) || !rtype::in_cluster(rtype) {
            return Verdict::Upstream;
        }
        Verdict::UpstreamFirst
    }
}

fn suffixes(texts: &[impl AsRef<str>]) -> Vec<Name> {
    texts.iter().filter_map(|text| Name::suffix(text.as_ref())).collect()
}

/// Labels of the longest suffix that matches; 0 if none does.
fn longest(suffixes: &[Name], name: &Name) -> usize {
    let matching = suffixes.iter().filter(|suffix| name.is_under(suffix));
    matching.map(|suffix| suffix.labels().count()).max().unwrap_or(0)
}

fn is_wpad(name: &Name) -> bool {
    name.labels().next() == Some("wpad")
}

#[cfg(test)]
mod tests;
