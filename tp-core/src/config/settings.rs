//! All layers merged: the settings that hold, as types.

use std::time::Duration;

use ipnet::IpNet;

use super::key::Key;
use super::kind::Value;
use super::layer::Layer;
use super::values::Values;
use crate::cluster::ClusterView;
use crate::dns::{DnsConfig, Mapping};
use crate::routing::{Routing, VIRTUAL_SUBNET_V4, VIRTUAL_SUBNET_V6};

/// The settings that hold, and where each comes from.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    pub routing: Routing,
    pub dns: Dns,
    pub timeouts: Timeouts,
    pub log_levels: LogLevels,
    pub cluster: Cluster,
    pub intercept: Intercept,
    /// What was left out of layers that may be wrong, for people.
    pub notes: Vec<String>,
    pub(super) values: Values,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Dns {
    pub exclude_suffixes: Vec<String>,
    pub include_suffixes: Vec<String>,
    pub excludes: Vec<String>,
    pub mappings: Vec<Mapping>,
    pub lookup_timeout: Duration,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Timeouts {
    pub cluster_connect: Duration,
    pub manager_connect: Duration,
    pub manager_api: Duration,
    pub endpoint_dial: Duration,
    pub roundtrip_latency: Duration,
    pub agent_arrival: Duration,
    pub intercept: Duration,
}

#[derive(Clone, PartialEq, Debug)]
pub struct LogLevels {
    pub root_daemon: String,
    pub user_daemon: String,
    /// The level of tp's one daemon.
    pub daemon: String,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Cluster {
    /// `None`: it has to be found.
    pub manager_namespace: Option<String>,
    /// Empty: all.
    pub mapped_namespaces: Vec<String>,
    pub agent_port_forward: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Intercept {
    pub default_port: u16,
    pub app_protocol_strategy: String,
    pub use_ftp: bool,
}

impl Config {
    /// `layers` from low to high, without the defaults.
    pub fn merge<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Self {
        let values = Values::merge(layers);
        Self {
            routing: Routing {
                also_proxy: values.subnets(Key::AlsoProxy),
                never_proxy: values.subnets(Key::NeverProxy),
                allow_conflicting: values.subnets(Key::AllowConflicting),
                proxy_via: values.proxy_via(Key::ProxyVia),
                virtual_subnet_v4: match values.last(Key::VirtualSubnet) {
                    Some(Value::SubnetV4(net)) => *net,
                    _ => VIRTUAL_SUBNET_V4,
                },
                virtual_subnet_v6: match values.last(Key::VirtualSubnetV6) {
                    Some(Value::SubnetV6(net)) => *net,
                    _ => VIRTUAL_SUBNET_V6,
                },
                auto_resolve: values.bool(Key::AutoResolveConflicts),
                recursion_guard: values.bool(Key::RecursionGuard),
                recursion_block: values.duration(Key::RecursionBlock),
            },
            dns: Dns {
                exclude_suffixes: values.texts(Key::ExcludeSuffixes),
                include_suffixes: values.texts(Key::IncludeSuffixes),
                excludes: values.texts(Key::Excludes),
                mappings: match values.last(Key::Mappings) {
                    Some(Value::Mappings(all)) => all.clone(),
                    _ => Vec::new(),
                },
                lookup_timeout: values.duration(Key::LookupTimeout),
            },
            timeouts: Timeouts {
                cluster_connect: values.duration(Key::ClusterConnect),
                manager_connect: values.duration(Key::ManagerConnect),
                manager_api: values.duration(Key::ManagerApi),
                endpoint_dial: values.duration(Key::EndpointDial),
                roundtrip_latency: values.duration(Key::RoundtripLatency),
                agent_arrival: values.duration(Key::AgentArrival),
                intercept: values.duration(Key::Intercept),
            },
            log_levels: LogLevels {
                root_daemon: values.text(Key::RootDaemonLevel).unwrap_or_default(),
                user_daemon: values.text(Key::UserDaemonLevel).unwrap_or_default(),
                daemon: values.daemon_level(),
            },
            cluster: Cluster {
                manager_namespace: values.text(Key::ManagerNamespace),
                mapped_namespaces: values.texts(Key::MappedNamespaces),
                agent_port_forward: values.bool(Key::AgentPortForward),
            },
            intercept: Intercept {
                default_port: match values.last(Key::InterceptPort) {
                    Some(Value::Port(port)) => *port,
                    _ => 0,
                },
                app_protocol_strategy: values.text(Key::InterceptProtocol).unwrap_or_default(),
                use_ftp: values.bool(Key::InterceptFtp),
            },
            notes: Vec::new(),
            values,
        }
    }

    /// What the DNS server is told. `namespaces` are those that are known to exist.
    pub fn dns_config(
        &self,
        view: &ClusterView,
        namespace: &str,
        namespaces: impl IntoIterator<Item = String>,
        subnets: Vec<IpNet>,
    ) -> DnsConfig {
        let mut namespaces: Vec<String> = namespaces.into_iter().collect();
        namespaces.extend(view.namespaces.iter().cloned());
        if !self.cluster.mapped_namespaces.is_empty() {
            namespaces.clone_from(&self.cluster.mapped_namespaces);
        }
        namespaces.push(namespace.to_owned());
        namespaces.sort();
        namespaces.dedup();
        DnsConfig {
            cluster_domain: view.cluster_domain.clone(),
            namespace: namespace.to_owned(),
            namespaces,
            include_suffixes: self.dns.include_suffixes.clone(),
            exclude_suffixes: self.dns.exclude_suffixes.clone(),
            excludes: self.dns.excludes.clone(),
            mappings: self.dns.mappings.clone(),
            lookup_timeout: self.dns.lookup_timeout,
            subnets,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::merge([])
    }
}
