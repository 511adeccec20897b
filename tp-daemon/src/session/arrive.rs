//! The first words with a manager: is it there, what is it, who are we.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tonic::Code;
use tp_core::config::Timeouts;
use tp_proto::client::{BenchClient, ManagerClient, Tunnels, bench, channel, manager};
use tp_proto::manager::ClientInfo;

use super::Options;
use super::drive::limited;
use super::way::Way;
use crate::failure::Failure;

/// A manager that has answered.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) client: ManagerClient,
    /// What only a manager of ours answers.
    pub(super) bench: BenchClient,
    pub(super) tunnels: Tunnels,
    version: String,
    /// For each answer of the manager.
    pub(super) answer_within: Duration,
}

/// A real Telepresence manager takes 250 streams per connection, watches and DNS included, and lets the next one wait
/// without a word (facts §0.2.5).
const STREAMS_TELEPRESENCE: usize = 200;
/// Ours sets no limit of its own; beyond this a second connection is worth its cost.
const STREAMS_OURS: usize = 4096;

/// Opens the first connection and asks for the version.
pub(super) async fn greet(way: &Way, timeouts: &Timeouts) -> Result<Peer, Failure> {
    let within = timeouts.manager_connect;
    let connecting = channel(Arc::clone(&way.connector), way.auth.clone());
    let channel = match tokio::time::timeout(within, connecting).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => return Err(unreachable(way, anyhow!(deepest(&error)))),
        Err(_) => return Err(unreachable(way, anyhow!("no connection within {within:?}"))),
    };
    let mut client = manager(channel.clone());
    let bench = bench(channel.clone());
    let answer = tokio::time::timeout(within, client.version(())).await;
    let version = match answer {
        Ok(Ok(version)) => version.into_inner(),
        Ok(Err(status)) if status.code() == Code::Unauthenticated => {
            return Err(Failure::new(
                anyhow!(status.message().to_owned())
                    .context(format!("the manager at {} does not accept our token", way.server)),
                "copy the join URL again from the manager's output: tokens are made anew with its state directory",
            ));
        }
        Ok(Err(status)) => return Err(unreachable(way, anyhow!(status.message().to_owned()))),
        Err(_) => return Err(unreachable(way, anyhow!("no answer within {within:?}"))),
    };
    let ours = version.name.contains("(tp)");
    let limit = if ours { STREAMS_OURS } else { STREAMS_TELEPRESENCE };
    let tunnels = Tunnels::new(channel, Arc::clone(&way.connector), way.auth.clone(), limit);
    let version = format!("{} {}", version.name, version.version);
    Ok(Peer { client, bench, tunnels, version, answer_within: timeouts.manager_api })
}

impl Peer {
    /// Name and version, as the manager gives them.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// What the manager wants its clients to be configured with, as YAML; nothing if it has nothing to say.
    pub(super) async fn client_config(&self) -> String {
        let mut client = self.client.clone();
        match limited(self.answer_within, client.get_client_config(())).await {
            Ok(config) => String::from_utf8_lossy(&config.config_yaml).into_owned(),
            Err(status) => {
                tracing::warn!(%status, "the manager tells no configuration for clients");
                String::new()
            }
        }
    }
}

/// Who we are. Telepresence's manager wants a product it knows and a version it accepts (facts §2.3).
pub(super) fn client_info(options: &Options, namespace: &str) -> ClientInfo {
    ClientInfo {
        name: options.client_name.clone(),
        install_id: install_id(),
        product: "telepresence".to_owned(),
        version: "v2.20.2".to_owned(),
        namespace: namespace.to_owned(),
    }
}

/// Telepresence keeps a UUID per installation; the machine's own id serves the same end and need not be kept.
fn install_id() -> String {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id: String = id.trim().chars().filter(char::is_ascii_hexdigit).collect();
    let id = format!("{id:0>32}");
    format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..32])
}

fn unreachable(way: &Way, error: anyhow::Error) -> Failure {
    let (doing, hint) = if way.cluster.is_some() {
        (
            format!("connecting to the traffic-manager in namespace {}", way.manager_namespace),
            format!(
                "does it run? `kubectl -n {0} get pods -l app=traffic-manager`; may you use it? \
                 `kubectl -n {0} auth can-i create pods/portforward`",
                way.manager_namespace
            ),
        )
    } else {
        (
            format!("connecting to the manager at {}", way.server),
            "is it running, and is the join URL the one it printed?".to_owned(),
        )
    };
    Failure::new(error.context(doing), hint)
}

/// tonic says "transport error"; the reason is at the end of the chain.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
