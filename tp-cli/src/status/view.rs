//! What `tp status` shows: fields for programs, which stay as they are, and text for people.

use serde::Serialize;
use tp_proto::daemon::StatusReply;

use super::routing::Routing;
use crate::output::fields;

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct View {
    /// `disconnected`, `starting`, `connecting`, `connected`, `reconnecting` or `quitting`.
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    daemon: Option<Daemon>,
    /// With a state of `connected` or `reconnecting`; so are the following.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Cluster>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manager: Option<Manager>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Network>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing: Option<Routing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Dns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flows: Option<Flows>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_seconds: Option<u64>,
    /// What the user should know.
    notes: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_error: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Daemon {
    version: String,
    pid: u32,
    user: String,
    log_file: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Cluster {
    /// Empty when the manager is reached directly.
    context: String,
    server: String,
    namespace: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Manager {
    name: String,
    version: String,
    namespace: String,
    session: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Network {
    dataplane: String,
    /// Why it is not `ebpf`.
    #[serde(skip_serializing_if = "String::is_empty")]
    dataplane_reason: String,
    device: String,
    addresses: Vec<String>,
    subnets: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Dns {
    mode: String,
    addresses: Vec<String>,
    cluster_domain: String,
    suffixes: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Flows {
    tcp: u64,
    udp: u64,
}

impl View {
    pub(super) fn disconnected() -> Self {
        Self {
            state: "disconnected".to_owned(),
            daemon: None,
            cluster: None,
            manager: None,
            network: None,
            routing: None,
            dns: None,
            flows: None,
            connected_seconds: None,
            notes: Vec::new(),
            last_error: String::new(),
        }
    }

    /// What we are connected to, in a sentence.
    pub(crate) fn target(&self) -> String {
        let Some(cluster) = &self.cluster else { return "nothing".to_owned() };
        let place = match cluster.context.as_str() {
            "" => format!("the manager at {}", cluster.server),
            context => format!("context {context} ({})", cluster.server),
        };
        format!("{place}, namespace {}", cluster.namespace)
    }

    /// What the user should know from the start.
    pub(crate) fn notes_on_connect(&self) -> Vec<String> {
        let routing = self.routing.as_ref().map(Routing::notes).unwrap_or_default();
        routing.into_iter().chain(self.notes.iter().cloned()).collect()
    }

    pub(super) fn text(&self) -> String {
        if self.daemon.is_none() {
            return "not connected\n".to_owned();
        }
        let mut text = match &self.cluster {
            Some(_) => format!("{} to {}\n\n", self.state, self.target()),
            None => format!("{}\n\n", self.state),
        };
        text.push_str(&fields(&self.fields()));
        if !self.last_error.is_empty() {
            text.push_str(&format!("\nlast error: {}\n", self.last_error));
        }
        for note in &self.notes {
            text.push_str(&format!("\nnote: {note}\n"));
        }
        text
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        if let Some(manager) = &self.manager {
            let place = if manager.namespace.is_empty() {
                String::new()
            } else {
                format!(" in namespace {}", manager.namespace)
            };
            all.push(("Manager", format!("{} {}{place}", manager.name, manager.version)));
            all.push(("Session", manager.session.clone()));
        }
        if let Some(network) = &self.network {
            all.push(("Networks", network.subnets.join(", ")));
            all.push((
                "Device",
                format!("{} ({}), {}", network.device, network.addresses.join(", "), network.dataplane),
            ));
            if !network.dataplane_reason.is_empty() {
                all.push(("Dataplane", format!("{}: {}", network.dataplane, network.dataplane_reason)));
            }
        }
        if let Some(routing) = &self.routing {
            all.extend(routing.fields());
        }
        if let Some(dns) = &self.dns {
            all.push(("DNS", format!("{} by {}", dns.addresses.join(", "), dns.mode)));
            all.push(("Names", [&[dns.cluster_domain.clone()][..], &dns.suffixes].concat().join(", ")));
        }
        if let Some(flows) = &self.flows {
            all.push(("Flows", format!("{} TCP, {} UDP", flows.tcp, flows.udp)));
        }
        if let Some(seconds) = self.connected_seconds {
            all.push(("Connected for", duration(seconds)));
        }
        if let Some(daemon) = &self.daemon {
            all.push((
                "Daemon",
                format!("{}, process {}, runs as {}", daemon.version, daemon.pid, daemon.user),
            ));
            all.push(("Log", daemon.log_file.clone()));
        }
        all
    }
}

impl From<StatusReply> for View {
    fn from(reply: StatusReply) -> Self {
        let connected = !reply.server.is_empty();
        Self {
            state: reply.state,
            daemon: Some(Daemon {
                version: reply.daemon_version,
                pid: reply.pid,
                user: reply.user,
                log_file: reply.log_file,
            }),
            cluster: connected.then_some(Cluster {
                context: reply.context,
                server: reply.server,
                namespace: reply.namespace,
            }),
            manager: connected.then_some(Manager {
                name: reply.manager_name,
                version: reply.manager_version,
                namespace: reply.manager_namespace,
                session: reply.session,
            }),
            network: connected.then_some(Network {
                dataplane: reply.dataplane,
                dataplane_reason: reply.dataplane_reason,
                device: reply.device,
                addresses: reply.device_addresses,
                subnets: reply.subnets,
            }),
            routing: reply.routing.map(Routing::from),
            dns: reply.dns.map(|dns| Dns {
                mode: dns.mode,
                addresses: dns.addresses,
                cluster_domain: dns.cluster_domain,
                suffixes: dns.suffixes,
            }),
            flows: connected.then_some(Flows { tcp: reply.tcp_flows, udp: reply.udp_flows }),
            connected_seconds: connected.then_some(reply.connected_seconds),
            notes: reply.notes,
            last_error: reply.last_error,
        }
    }
}

fn duration(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m"),
    }
}
