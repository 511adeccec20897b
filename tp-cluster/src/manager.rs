//! `tp-traffic manager`: serves clients in a cluster, or standalone.

mod agents;
mod bench;
mod cluster;
mod dial;
mod dns;
mod front;
mod in_cluster;
mod kube;
mod policy;
mod server;
mod service;
mod sessions;
mod standalone;
mod tunnel;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tp_core::join::JoinUrl;
use tp_core::sessions::Limits;

use crate::args::ManagerArgs;
use crate::log::LevelHandle;
use agents::LogLevels;
use cluster::{Cluster, Fixed, Networks};
use dns::Names;
use policy::Policy;
use sessions::Registry;

/// How long flows may go on after SIGTERM: long enough for an answer that is on its way, short enough for a rollout.
const GRACE: Duration = Duration::from_secs(2);

/// Until every connection has heard the goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// What all RPCs share.
#[derive(Debug)]
struct Shared {
    sessions: Registry,
    cluster: Cluster,
    names: Names,
    policy: Policy,
    sinks: bench::Sinks,
    client_config: Option<PathBuf>,
    /// UID of the manager's namespace; all zero until it is known.
    cluster_id: watch::Receiver<String>,
    log_level: LevelHandle,
    agents_log_level: LogLevels,
    stopping: Stopping,
}

/// A stop has two steps: first a word to everyone, then the end of what still runs.
#[derive(Clone, Debug, Default)]
struct Stopping {
    /// No new connections; watches end.
    begun: CancellationToken,
    /// Flows end.
    now: CancellationToken,
}

/// A manager that serves.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// How to join it; `None` in a cluster.
    pub join: Option<JoinUrl>,
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

/// What differs between a cluster and standalone.
struct Place {
    listen: SocketAddr,
    fixed: Fixed,
    networks: watch::Receiver<Option<Networks>>,
    cluster_id: watch::Receiver<String>,
    names: Names,
    policy: Policy,
    /// Where clients find a sink.
    offer: bench::Offer,
    /// How clients get in; `None` in a cluster, where the API server has let them in.
    entrance: Option<standalone::Entrance>,
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(args: ManagerArgs, log_level: LevelHandle) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let running = start(&args, log_level).await?;
    if let Some(url) = &running.join {
        standalone::announce(url, &args.standalone)?;
    }
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
    }
    running.stop().await;
    Ok(())
}

/// Starts serving; needs a tokio runtime.
pub async fn start(args: &ManagerArgs, log_level: LevelHandle) -> Result<Running> {
    let tasks = TaskTracker::new();
    let stopping = Stopping::default();
    let place =
        if args.standalone.standalone { standalone::place(args)? } else { in_cluster::place(args).await? };
    let listener = TcpListener::bind(place.listen).await.with_context(|| {
        format!(
            "cannot listen on {}\n\nhint: another program may listen there; --listen ADDR:0 takes a free port",
            place.listen
        )
    })?;
    let address = listener.local_addr()?;
    let limits = Limits { ttl: args.limits.session_ttl, ..Limits::default() };
    let shared = Arc::new(Shared {
        sessions: Registry::new(limits, args.limits.max_flows),
        cluster: Cluster::new(Fixed { manager_port: address.port(), ..place.fixed }, place.networks),
        names: place.names,
        policy: place.policy,
        sinks: bench::Sinks::new((!args.no_bench_sink).then_some(place.offer)),
        client_config: args.client.client_config.clone(),
        cluster_id: place.cluster_id,
        log_level,
        agents_log_level: LogLevels::default(),
        stopping: stopping.clone(),
    });
    let (tls, token, join) = match place.entrance {
        Some(entrance) => {
            let join = entrance.join_url(&args.standalone, address);
            (entrance.tls, entrance.token, Some(join))
        }
        None => (None, None, None),
    };
    let front = front::Front::new(Arc::clone(&shared), args.limits.max_message, token);
    tokio::spawn(server::serve(listener, tls, front, stopping.begun.clone(), tasks.clone()));
    let sweeper = Arc::clone(&shared);
    let end = stopping.begun.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = sweeper.sessions.sweep() => {}
            () = end.cancelled() => {}
        }
    });
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "the manager serves");
    Ok(Running { address, join, shared, tasks })
}

impl Running {
    /// Ends quickly: watches at once, flows after a short grace.
    pub async fn stop(self) {
        let Stopping { begun, now } = self.shared.stopping.clone();
        begun.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            tracing::info!(flows = self.shared.sessions.flows(), "ending the flows that are left");
            now.cancel();
            let _ = tokio::time::timeout(GOODBYE, self.tasks.wait()).await;
        }
        tracing::info!("stopped");
    }
}

/// What Telepresence's manager says when it cannot read its namespace.
const NO_CLUSTER_ID: &str = "00000000-0000-0000-0000-000000000000";
