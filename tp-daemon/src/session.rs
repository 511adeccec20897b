//! A connection of this workstation to a cluster, from the first look at the kubeconfig to the last goodbye.
//!
//! tp-core's session decides; here is what carries its actions out.

mod arrive;
mod drive;
mod follow;
mod lookup;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use ipnet::IpNet;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tp_core::join::JoinUrl;
use tp_core::session::State;
use tp_proto::client::{Auth, Connector};
use tp_proto::daemon::KubeTarget;

use crate::dataplane::{Dataplane, Reach};
use crate::direct::Direct;
use crate::dns;
use crate::failure::{Failure, OrHint};
use crate::flows::Flows;
use crate::kube;

pub use crate::progress::{Progress, Step};

/// What to connect to.
#[derive(Clone, Debug)]
pub enum Target {
    Kube(Box<KubeTarget>),
    Direct(JoinUrl),
}

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Options {
    pub target: Target,
    /// Namespace of short names; `None`: the context's.
    pub namespace: Option<String>,
    /// `user@host`, shown by the manager.
    pub client_name: String,
}

/// What `tp status` tells. Everything here is cheap to ask for.
#[derive(Clone, Debug)]
pub struct Status {
    pub state: State,
    pub context: String,
    pub server: String,
    pub namespace: String,
    pub manager_namespace: String,
    /// Name and version.
    pub manager: String,
    pub session: String,
    pub subnets: Vec<IpNet>,
    pub dns: dns::Status,
    pub tcp_flows: u64,
    pub udp_flows: u64,
    pub since: Instant,
    pub notes: Vec<String>,
    pub last_error: Option<String>,
}

/// A standing connection. Dropping it leaves without saying goodbye; use [`Session::quit`].
pub struct Session {
    facts: Facts,
    shared: Arc<Shared>,
    flows: Flows,
    dns: dns::DnsHandle,
    quit: CancellationToken,
    driver: JoinHandle<()>,
    serving: JoinHandle<()>,
}

/// What does not change while connected.
#[derive(Clone, Debug)]
struct Facts {
    context: String,
    server: String,
    namespace: String,
    manager_namespace: String,
    manager: String,
    since: Instant,
}

/// What the driver writes and `status` reads.
#[derive(Debug)]
struct Shared {
    now: Mutex<Now>,
}

#[derive(Clone, Debug)]
struct Now {
    state: State,
    session: String,
    subnets: Vec<IpNet>,
    last_error: Option<String>,
}

impl Shared {
    fn update(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    fn get(&self) -> Now {
        self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// The way to the manager, found but not yet used.
struct Way {
    connector: Arc<dyn Connector>,
    auth: Auth,
    transport: Vec<IpAddr>,
    context: String,
    server: String,
    namespace: String,
    manager_namespace: String,
    cluster: Option<kube::Cluster>,
}

/// Until the first report of the cluster's networks.
const FIRST_REPORT: Duration = Duration::from_secs(15);

/// Connects. On a failure nothing is left behind: routes and DNS come last, and are taken back by what fails.
pub async fn connect<D: Dataplane>(
    options: &Options,
    dataplane: D,
    dns: dns::Prepared,
    progress: &Progress,
) -> Result<Session, Failure> {
    let way = find_way(options, progress).await?;
    progress.step("manager", format!("connecting to {}", way.server));
    let peer = arrive::greet(&way).await?;
    let namespaces = match &way.cluster {
        Some(cluster) => cluster.namespaces().await,
        None => Vec::new(),
    };
    let quit = CancellationToken::new();
    let shared = Arc::new(Shared {
        now: Mutex::new(Now {
            state: State::Connecting,
            session: String::new(),
            subnets: Vec::new(),
            last_error: None,
        }),
    });
    let (exit_tx, exit) = watch::channel(None);
    let (unknown_tx, unknown) = mpsc::channel(1);
    let flows = Flows::new(exit, unknown_tx);
    let client = arrive::client_info(options, &way.namespace);

    progress.step("session", format!("joining {}", peer.version()));
    let (views_tx, mut views) = watch::channel(None);
    let driver =
        drive::Driver::new(peer.clone(), client, exit_tx, Arc::clone(&shared), views_tx, quit.clone());
    let driver = tokio::spawn(driver.run(unknown));
    let leave = |error: Failure| {
        quit.cancel();
        error
    };
    let view = tokio::time::timeout(FIRST_REPORT, views.wait_for(Option::is_some))
        .await
        .ok()
        .and_then(|changed| changed.ok().and_then(|view| view.clone()))
        .ok_or_else(|| {
            let reason = shared.get().last_error.unwrap_or_else(|| "no report within 15 s".to_owned());
            leave(Failure::new(
                anyhow!(reason).context("waiting for the manager's report of the cluster's networks"),
                format!("see its log: `kubectl -n {} logs deploy/traffic-manager`", way.manager_namespace),
            ))
        })?;

    let follower =
        follow::Follower::new(dataplane.clone(), way.transport.clone(), namespaces, way.namespace.clone());
    let networks = follower.networks(&view);
    progress.step("routes", list(&networks));
    follower.route(&networks).await.map_err(leave)?;
    shared.update(|now| now.subnets.clone_from(&networks));
    let serving = tokio::spawn({
        let (flows, dataplane) = (flows.clone(), dataplane.clone());
        async move { flows.serve(dataplane).await }
    });
    progress.step("DNS", view.cluster_domain.clone());
    let lookup = Arc::new(lookup::ManagerLookup::new(peer.clone(), Arc::clone(&shared)));
    let dns = match dns::Server::start(dns, dataplane.clone(), lookup, follower.dns_config(&view)).await {
        Ok(dns) => dns,
        Err(error) => {
            // the routes go with the device in any case
            let _ = dataplane.set_reach(&Reach::default()).await;
            return Err(error).or_hint("starting the DNS server", "see the daemon's log").map_err(leave);
        }
    };
    tokio::spawn(follower.run(views, dns.updater(), Arc::clone(&shared), quit.clone()));
    let facts = Facts {
        context: way.context,
        server: way.server,
        namespace: way.namespace,
        manager_namespace: way.manager_namespace,
        manager: peer.version().to_owned(),
        since: Instant::now(),
    };
    Ok(Session { facts, shared, flows, dns, quit, driver, serving })
}

async fn find_way(options: &Options, progress: &Progress) -> Result<Way, Failure> {
    match &options.target {
        Target::Kube(target) => {
            let cluster = kube::find(target, progress).await?;
            let namespace = options.namespace.clone().unwrap_or_else(|| cluster.loaded.namespace.clone());
            Ok(Way {
                connector: Arc::clone(&cluster.connector),
                auth: Auth::default(),
                transport: cluster.transport.clone(),
                context: cluster.loaded.context.clone(),
                server: cluster.loaded.server.clone(),
                namespace,
                manager_namespace: cluster.manager_namespace.clone(),
                cluster: Some(cluster),
            })
        }
        Target::Direct(url) => {
            let direct = Direct::new(url).await?;
            let auth = match &url.token {
                None => Auth::default(),
                Some(token) => Auth::bearer(token).ok_or_else(|| {
                    Failure::new(
                        anyhow!("the token cannot be sent"),
                        "copy the join URL again from the manager",
                    )
                })?,
            };
            Ok(Way {
                transport: direct.transport(),
                connector: Arc::new(direct),
                auth,
                context: String::new(),
                server: url.address(),
                namespace: options.namespace.clone().unwrap_or_else(|| "default".to_owned()),
                manager_namespace: String::new(),
                cluster: None,
            })
        }
    }
}

impl Session {
    pub fn status(&self) -> Status {
        let now = self.shared.get();
        let (tcp_flows, udp_flows) = self.flows.counts();
        Status {
            state: now.state,
            context: self.facts.context.clone(),
            server: self.facts.server.clone(),
            namespace: self.facts.namespace.clone(),
            manager_namespace: self.facts.manager_namespace.clone(),
            manager: self.facts.manager.clone(),
            session: now.session,
            subnets: now.subnets,
            dns: self.dns.status(),
            tcp_flows,
            udp_flows,
            since: self.facts.since,
            notes: Vec::new(),
            last_error: now.last_error,
        }
    }

    /// Leaves: names first, so that nothing new starts, then flows, routes are the dataplane's, the goodbye last.
    pub async fn quit(self, dataplane: &impl Dataplane) {
        self.dns.stop().await;
        self.flows.stop().await;
        if let Err(error) = dataplane.set_reach(&Reach::default()).await {
            tracing::warn!(%error, "routes could not be removed; they go with the device");
        }
        self.quit.cancel();
        for task in [self.serving, self.driver] {
            if tokio::time::timeout(Duration::from_secs(2), task).await.is_err() {
                tracing::warn!("a task of the session did not end in time");
            }
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("facts", &self.facts).finish_non_exhaustive()
    }
}

fn list(networks: &[IpNet]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
