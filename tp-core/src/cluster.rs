//! What a client knows of the cluster it has joined: the last ClusterInfo, in tp-core's types.

use std::net::IpAddr;

use ipnet::IpNet;

/// One state of the cluster's networks and names, as the manager reported it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterView {
    pub service_subnets: Vec<IpNet>,
    pub pod_subnets: Vec<IpNet>,
    pub also_proxy: Vec<IpNet>,
    pub never_proxy: Vec<IpNet>,
    pub allow_conflicting: Vec<IpNet>,
    /// Of the nodes; empty if the manager may not read them, or does not tell.
    pub node_addresses: Vec<IpAddr>,
    pub manager_pod_ip: Option<IpAddr>,
    /// Without a trailing dot, e.g. `cluster.local`.
    pub cluster_domain: String,
    pub include_suffixes: Vec<String>,
    pub exclude_suffixes: Vec<String>,
    /// Namespaces that the manager may see; empty with a Telepresence manager, which does not tell.
    pub namespaces: Vec<String>,
}

impl ClusterView {
    /// Every subnet that the cluster offers, before anything is taken out.
    pub fn offered(&self) -> impl Iterator<Item = IpNet> + '_ {
        [&self.service_subnets, &self.pod_subnets, &self.also_proxy].into_iter().flatten().copied()
    }
}
