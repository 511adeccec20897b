//! The DNS server: names of the cluster, and every other name answered by the server that the app asked.
//!
//! Queries come by systemd-resolved, by hooks in the kernel, or both ([`ways`]). A query is judged by tp-core's rules
//! ([`respond`]) and goes to the cluster ([`zone`], [`lookups`]) or to the machine's own server ([`upstream`]).

mod listen;
mod lookups;
mod machine;
mod mapped;
mod resolved;
mod respond;
mod self_check;
mod survey;
mod translate;
mod upstream;
mod ways;
mod zone;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::{CancellationToken, DropGuard};
use tp_core::dns::{DnsConfig, Rules};

use crate::dataplane::Dataplane;
use lookups::Lookups;
pub use lookups::{Answer, ClusterLookup, Looking, LookupError};
use machine::Machine;
pub(crate) use machine::resolvers;
use respond::Responder;
pub use survey::{Survey, survey};
pub use translate::{NoneLeft, Translation};
use upstream::Upstream;
use ways::WaysIn;
use zone::Zone;

/// How often resolv.conf is looked at. Programs read it when they start, so nobody sees the difference.
const LOOK_AT_FILES: Duration = Duration::from_secs(2);

/// What is done as root, before the daemon gives up its rights.
#[derive(Debug, Default)]
pub struct Prepared {
    bus: resolved::Bus,
}

/// To be called as root, before the runtime starts. What is missing on this machine is not an error.
pub fn prepare() -> Prepared {
    Prepared { bus: resolved::Bus::connect() }
}

impl Prepared {
    /// To be called as soon as the runtime runs: the system bus does not wait long for a client to say who it is.
    pub async fn authenticate(&mut self) {
        self.bus.authenticate().await;
    }
}

/// What `tp status` tells about names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// `systemd-resolved`, `socket hooks`, or both.
    pub mode: String,
    pub addresses: Vec<IpAddr>,
    /// E.g. `cluster.local`, without a trailing dot.
    pub cluster_domain: String,
    /// What makes a name the cluster's.
    pub suffixes: Vec<String>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// The cluster as the server asks it.
pub struct ClusterNames {
    pub lookup: Arc<dyn ClusterLookup>,
    pub translation: Arc<dyn Translation>,
}

#[derive(Debug)]
pub struct Server;

impl Server {
    /// Serves on the dataplane's DNS sockets and leads the machine's queries there. When it returns, names work.
    pub async fn start(
        prepared: Prepared,
        dataplane: impl Dataplane,
        cluster: ClusterNames,
        config: DnsConfig,
    ) -> anyhow::Result<DnsHandle> {
        Self::start_on(prepared, dataplane, cluster, config, Machine::new()).await
    }

    async fn start_on(
        prepared: Prepared,
        dataplane: impl Dataplane,
        ClusterNames { lookup, translation }: ClusterNames,
        config: DnsConfig,
        machine: Machine,
    ) -> anyhow::Result<DnsHandle> {
        let sockets = dataplane.dns_sockets().context("taking the sockets of the DNS server")?;
        let servers =
            sockets.udp.iter().map(tokio::net::UdpSocket::local_addr).collect::<Result<Vec<_>, _>>();
        let servers = servers.context("asking for the address of the DNS server")?;
        let addresses: Vec<IpAddr> = servers.iter().map(std::net::SocketAddr::ip).collect();
        let asked = {
            let dataplane = dataplane.clone();
            Arc::new(move |app, proto| dataplane.original_server(app, proto))
        };
        let responder = Arc::new(Responder {
            rules: RwLock::new(Arc::new(Rules::new(&config, &machine.servers().search))),
            zone: Zone::new(Lookups::new(lookup), translation, addresses.clone(), self_check::unique_name()?),
            machine,
            upstream: Upstream::new(),
            asked,
            addresses,
        });
        let stop = CancellationToken::new();
        let stop_on_error = stop.clone().drop_guard();
        for socket in sockets.udp {
            tokio::spawn(listen::udp(socket, Arc::clone(&responder), stop.clone()));
        }
        for listener in sockets.tcp {
            tokio::spawn(listen::tcp(listener, Arc::clone(&responder), stop.clone()));
        }
        let ways = WaysIn::new(prepared, dataplane, Arc::clone(&responder)).await;
        let inner = Arc::new(Inner { responder, ways, config: RwLock::new(config) });
        inner.follow_config();
        self_check::reaches(&servers, &inner.responder.zone).await?;
        inner.ways.settle(&inner.config()).await?;
        tokio::spawn(watch(Arc::clone(&inner), stop.clone()));
        let checking = Arc::clone(&inner);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            checking.responder.zone.check_for_loops().await;
        }));
        Ok(DnsHandle { inner, stop: stop_on_error })
    }
}

/// The running server. Dropping it stops it; what systemd-resolved was told then stays until the TUN goes.
pub struct DnsHandle {
    inner: Arc<Inner>,
    #[expect(dead_code, reason = "held for its Drop")]
    stop: DropGuard,
}

/// Changes what the server knows of the cluster.
#[derive(Clone)]
pub struct Updater(Arc<Inner>);

struct Inner {
    responder: Arc<Responder>,
    ways: WaysIn,
    config: RwLock<DnsConfig>,
}

impl DnsHandle {
    pub fn status(&self) -> Status {
        let config = self.inner.config();
        let rules = self.inner.responder.rules();
        let mut suffixes: Vec<String> = config.namespaces.clone();
        suffixes.extend(["svc".to_owned()]);
        suffixes.extend(config.include_suffixes.iter().map(|suffix| suffix.trim_matches('.').to_owned()));
        suffixes.sort();
        suffixes.dedup();
        Status {
            mode: self.inner.ways.mode(),
            addresses: self.inner.responder.addresses.clone(),
            cluster_domain: rules.cluster_domain().map(ToString::to_string).unwrap_or_default(),
            suffixes,
            notes: self.inner.ways.notes(),
        }
    }

    pub fn updater(&self) -> Updater {
        Updater(Arc::clone(&self.inner))
    }

    /// Leaves names as they were; only then does the server stop to answer.
    pub async fn stop(self) {
        self.inner.ways.restore().await;
    }
}

impl Drop for DnsHandle {
    fn drop(&mut self) {
        self.inner.ways.close_hooks();
    }
}

impl Updater {
    /// The new configuration holds for every query that comes after this.
    pub async fn update(&self, config: DnsConfig) {
        *self.0.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        self.0.follow_config();
        self.0.settle_or_warn().await;
    }
}

impl Inner {
    fn config(&self) -> DnsConfig {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn follow_config(&self) {
        let config = self.config();
        let rules = Arc::new(Rules::new(&config, &self.responder.machine.servers().search));
        self.responder.zone.changed(&rules, config.lookup_timeout);
        *self.responder.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    async fn settle_or_warn(&self) {
        if let Err(error) = self.ways.settle(&self.config()).await {
            tracing::error!(error = format!("{error:#}"), "names may not reach the cluster any more");
        }
    }
}

/// Follows changes of the machine's own configuration: a VPN comes, a laptop moves, resolved restarts.
async fn watch(inner: Arc<Inner>, stop: CancellationToken) {
    let mut every = tokio::time::interval(LOOK_AT_FILES);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {
                if !inner.responder.machine.refresh() {
                    continue;
                }
                tracing::info!(servers = ?inner.responder.machine.servers(), "the machine's DNS servers changed");
                inner.follow_config();
            }
            () = inner.ways.changed() => {}
            () = stop.cancelled() => return,
        }
        inner.settle_or_warn().await;
    }
}

impl fmt::Debug for ClusterNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterNames")
    }
}

impl fmt::Debug for DnsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsHandle").field("status", &self.status()).finish()
    }
}

impl fmt::Debug for Updater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Updater")
    }
}

#[cfg(test)]
mod tests;
