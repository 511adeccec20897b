//! A connection of this workstation to a cluster, from the first look at the kubeconfig to the last goodbye.
//!
//! tp-core's session decides; here is what carries its actions out.

mod arrive;
mod drive;
mod follow;
mod lookup;
mod reach;
mod sink;
mod survey;
mod way;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use ipnet::IpNet;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tp_core::cluster::ClusterView;
use tp_core::config::Config;
use tp_core::conflicts::CommandLine;
use tp_core::join::JoinUrl;
use tp_core::routing::Exit;
use tp_core::session::State;
use tp_proto::daemon::KubeTarget;

use crate::config::{Settings, Sources};
use crate::dataplane::{Dataplane, MapDump, Reach, Rows};
use crate::dns;
use crate::exits::{self, Exits};
use crate::failure::{Failure, OrHint};
use crate::flows::{self, Flows, Ways};
use crate::kube;
use crate::logging;
use crate::machine;
use crate::virtual_addresses::VirtualAddresses;
use way::Way;

pub use crate::progress::{Progress, Step};
pub use reach::Reached;
pub use survey::{Survey, survey};

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
    /// Files, kubeconfig and flags.
    pub sources: Sources,
    /// What the user typed, for hints.
    pub command: CommandLine,
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
    pub reached: Reached,
    pub virtual_addresses: usize,
    pub recursion_block: Duration,
    pub dns: dns::Status,
    pub tcp_flows: u64,
    pub udp_flows: u64,
    pub since: Instant,
    /// Agents of the workloads that are exits.
    pub exits: Vec<exits::WorkloadStatus>,
    pub notes: Vec<String>,
    pub last_error: Option<String>,
}

/// A standing connection. Dropping it leaves without saying goodbye; use [`Session::quit`].
pub struct Session {
    facts: Facts,
    peer: arrive::Peer,
    shared: Arc<Shared>,
    flows: Flows,
    exits: Exits,
    addresses: VirtualAddresses,
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
    recursion_block: Duration,
    settings: Settings,
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
    view: ClusterView,
    reached: Reached,
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

/// Connects. On a failure nothing is left behind: routes and DNS come last, and are taken back by what fails.
pub async fn connect<D: Dataplane>(
    options: &Options,
    dataplane: D,
    dns: dns::Prepared,
    progress: &Progress,
) -> Result<Session, Failure> {
    let way = way::find(options, progress).await?;
    progress.step("manager", format!("connecting to {}", way.server));
    let timeouts = options.sources.config().timeouts;
    let peer = arrive::greet(&way, &timeouts).await?;
    let namespaces = match &way.cluster {
        Some(cluster) => cluster.namespaces().await,
        None => Vec::new(),
    };
    let quit = CancellationToken::new();
    let shared = Arc::new(Shared {
        now: Mutex::new(Now {
            state: State::Connecting,
            session: String::new(),
            view: ClusterView::default(),
            reached: Reached::default(),
            last_error: None,
        }),
    });
    let (exit_tx, exit) = watch::channel(None);
    let (session_unknown, unknown) = mpsc::channel(1);
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
    let view = tokio::time::timeout(timeouts.manager_connect, views.wait_for(Option::is_some))
        .await
        .ok()
        .and_then(|changed| changed.ok().and_then(|view| view.clone()))
        .ok_or_else(|| {
            let reason = shared
                .get()
                .last_error
                .unwrap_or_else(|| format!("no report within {:?}", timeouts.manager_connect));
            leave(Failure::new(
                anyhow!(reason).context("waiting for the manager's report of the cluster's networks"),
                way.log_hint(),
            ))
        })?;

    let settings = options.sources.with_manager(&peer.client_config().await);
    let config = settings.config(&view);
    logging::follow(&config);
    let addresses = {
        let dataplane = dataplane.clone();
        VirtualAddresses::new(&config.routing, move |changes| dataplane.change_vips(changes))
    };
    let exits = start_exits(&way, &peer, exit.clone(), &config, progress).await.map_err(leave)?;
    let follower = follow::Follower {
        reacher: reach::Reacher::new(&dataplane, &way.transport, addresses.clone(), options.command.clone()),
        addresses: addresses.clone(),
        settings: settings.clone(),
        namespaces,
        namespace: way.namespace.clone(),
    };
    // from before the first look on, so that no change is missed
    let changes = machine::Watch::start()
        .or_hint("listening for changes of this machine's routes", "is netlink available here?")
        .map_err(leave)?;
    progress.step("routes", list(&view.offered().collect::<Vec<_>>()));
    dataplane
        .set_recursion_block(config.routing.recursion_block)
        .or_hint("guarding against recursion", "this is a bug; please report it")
        .map_err(leave)?;
    let reached = follower.start(&view, &config).await.map_err(leave)?;
    shared.update(|now| (now.view, now.reached) = (view.clone(), reached.clone()));
    let flows = Flows::new(Ways {
        manager: exit,
        session_unknown,
        exits: exits.clone(),
        addresses: addresses.clone(),
        dial_timeout: config.timeouts.endpoint_dial,
        roundtrip: config.timeouts.roundtrip_latency,
    });
    let serving = tokio::spawn({
        let (flows, dataplane) = (flows.clone(), dataplane.clone());
        async move { flows.serve(dataplane).await }
    });
    progress.step("DNS", view.cluster_domain.clone());
    let names = dns::ClusterNames {
        lookup: Arc::new(lookup::ManagerLookup::new(peer.clone(), Arc::clone(&shared))),
        translation: Arc::new(addresses.clone()),
    };
    let dns_config = follower.dns_config(&view, &config, &reached.plan);
    let dns = match dns::Server::start(dns, dataplane.clone(), names, dns_config).await {
        Ok(dns) => dns,
        Err(error) => {
            // the routes go with the device in any case
            let _ = dataplane.set_reach(&Reach::default()).await;
            return Err(error).or_hint("starting the DNS server", "see the daemon's log").map_err(leave);
        }
    };
    tokio::spawn(follower.run(views, changes, reached, dns.updater(), Arc::clone(&shared), quit.clone()));
    let facts = Facts {
        context: way.context,
        server: way.server,
        namespace: way.namespace,
        manager_namespace: way.manager_namespace,
        manager: peer.version().to_owned(),
        since: Instant::now(),
        recursion_block: config.routing.recursion_block,
        settings,
    };
    Ok(Session { facts, peer, shared, flows, exits, addresses, dns, quit, driver, serving })
}

/// Agents of the workloads that `--proxy-via` names.
async fn start_exits(
    way: &Way,
    peer: &arrive::Peer,
    manager: watch::Receiver<Option<flows::Exit>>,
    config: &Config,
    progress: &Progress,
) -> Result<Exits, Failure> {
    let workload = |exit: &Exit| match exit {
        Exit::Workload(name) => Some(name.clone()),
        Exit::Manager => None,
    };
    let workloads: Vec<String> =
        config.routing.proxy_via.iter().filter_map(|via| workload(&via.exit)).collect();
    if !workloads.is_empty() {
        progress.step("agents", workloads.join(", "));
    }
    Exits::start(exits::Start {
        client: peer.client.clone(),
        manager,
        cluster: way.cluster.as_ref().filter(|_| config.cluster.agent_port_forward).map(kube::Cluster::pods),
        namespace: way.namespace.clone(),
        workloads,
        arrival: config.timeouts.agent_arrival,
    })
    .await
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
            reached: now.reached,
            virtual_addresses: self.addresses.in_use(),
            recursion_block: self.facts.recursion_block,
            dns: self.dns.status(),
            tcp_flows,
            udp_flows,
            since: self.facts.since,
            exits: self.exits.status(),
            notes: [self.exits.notes(), self.facts.settings.notes().to_vec()].concat(),
            last_error: self.addresses.trouble().or(now.last_error),
        }
    }

    /// The settings that hold now.
    pub fn config(&self) -> Config {
        self.facts.settings.config(&self.shared.get().view)
    }

    /// The maps of the dataplane; of virtual addresses it only knows half.
    pub fn dump(&self, dataplane: &impl Dataplane, map: Option<&str>) -> io::Result<Vec<MapDump>> {
        let mut maps = dataplane.dump(map)?;
        for map in &mut maps {
            if let Rows::Vips(rewritten) = &map.rows {
                let inside = |vip| rewritten.iter().find(|row| row.vip == vip).map(|row| row.cluster);
                map.rows = Rows::VirtualAddresses(self.addresses.rows(inside));
            }
        }
        Ok(maps)
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
