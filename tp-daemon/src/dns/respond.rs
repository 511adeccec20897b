//! One query, from verdict to response.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::timeout;
use tp_core::addr::AppAddr;
use tp_core::dns::message::{self, Message, NOERROR, NXDOMAIN, SERVFAIL};
use tp_core::dns::{Rules, Verdict};
use tp_core::flow::Proto;

use super::machine::Machine;
use super::upstream::Upstream;
use super::zone::Zone;

/// How long the machine's own server may think before the cluster is asked as well.
const SLOW_UPSTREAM: Duration = Duration::from_secs(2);
/// How long the cluster may think before the machine's own server is asked as well.
const SLOW_CLUSTER: Duration = Duration::from_secs(1);

/// Tells which server an app really asked; see [`crate::dataplane::Dataplane::original_server`].
pub(super) type Asked = Arc<dyn Fn(AppAddr, Proto) -> Option<SocketAddr> + Send + Sync>;

/// A query and who sent it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    pub(super) message: &'a [u8],
    pub(super) app: AppAddr,
    pub(super) proto: Proto,
}

pub(super) struct Responder {
    pub(super) rules: RwLock<Arc<Rules>>,
    pub(super) zone: Zone,
    pub(super) machine: Machine,
    pub(super) upstream: Upstream,
    pub(super) asked: Asked,
    /// Our own addresses.
    pub(super) addresses: Vec<std::net::IpAddr>,
}

impl Responder {
    /// `None`: the message is no request, and gets no response.
    pub(super) fn judge(&self, message: &[u8]) -> Option<Verdict> {
        match message::read(message) {
            Message::Query(question) => Some(self.rules().judge(&question)),
            Message::Other => Some(Verdict::Upstream),
            Message::NoRequest => None,
        }
    }

    pub(super) async fn respond(&self, query: Query<'_>, verdict: Verdict) -> Vec<u8> {
        match verdict {
            Verdict::Cluster => self.cluster(query).await,
            Verdict::ClusterFirst => self.cluster_first(query).await,
            Verdict::UpstreamFirst => self.upstream_first(query).await,
            Verdict::Upstream => self.upstream(query).await.unwrap_or_else(|error| failed(query, &error)),
            Verdict::NotExist => message::failure(query.message, NXDOMAIN),
        }
    }

    /// The servers to ask for the app, best first. Never ourselves.
    pub(super) fn servers(&self, app: AppAddr, proto: Proto) -> Vec<SocketAddr> {
        let mut servers = match (self.asked)(app, proto) {
            Some(asked) => self.machine.servers().to_ask(asked),
            None => self.machine.direct().to_vec(),
        };
        servers.retain(|server| !self.addresses.contains(&server.ip()));
        servers
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn cluster(&self, query: Query<'_>) -> Vec<u8> {
        self.zone.answer(query.message, query.app, query.proto).await
    }

    async fn upstream(&self, query: Query<'_>) -> io::Result<Vec<u8>> {
        let servers = self.servers(query.app, query.proto);
        self.upstream.ask(&servers, query.message, query.proto).await
    }

    /// What the cluster knows, counts; else what the machine's own server says.
    async fn cluster_first(&self, query: Query<'_>) -> Vec<u8> {
        let mut cluster = std::pin::pin!(self.cluster(query));
        let mut upstream = std::pin::pin!(self.upstream(query));
        let from_cluster = match timeout(SLOW_CLUSTER, &mut cluster).await {
            Ok(response) => response,
            Err(_) => tokio::select! {
                biased;
                response = &mut cluster => response,
                response = &mut upstream => match response {
                    Ok(response) if knows(&response) => return response,
                    _ => return cluster.await,
                },
            },
        };
        if knows(&from_cluster) {
            return from_cluster;
        }
        match upstream.await {
            Ok(response) if knows(&response) => response,
            // "no such name" is only true if both say so
            Ok(response) if message::rcode(&from_cluster) == Some(NXDOMAIN) => response,
            _ => from_cluster,
        }
    }

    /// What the machine's own server knows, counts; else what the cluster knows; else what the server said.
    async fn upstream_first(&self, query: Query<'_>) -> Vec<u8> {
        let mut upstream = std::pin::pin!(self.upstream(query));
        let mut cluster = std::pin::pin!(self.cluster(query));
        let from_upstream = match timeout(SLOW_UPSTREAM, &mut upstream).await {
            Ok(response) => response,
            Err(_) => tokio::select! {
                biased;
                response = &mut upstream => response,
                response = &mut cluster => {
                    if knows(&response) {
                        return response;
                    }
                    return upstream.await.unwrap_or_else(|error| failed(query, &error));
                }
            },
        };
        match from_upstream {
            Ok(response) if knows(&response) => response,
            other => {
                let from_cluster = cluster.await;
                if knows(&from_cluster) {
                    return from_cluster;
                }
                other.unwrap_or_else(|error| failed(query, &error))
            }
        }
    }
}

/// Whether the name exists, with or without records of that type.
fn knows(response: &[u8]) -> bool {
    message::rcode(response) == Some(NOERROR)
}

/// An app whose server is unreachable gets a failure at once, where before it got an ICMP error at once: either way
/// it goes on to its next server and the rest of its search list.
fn failed(query: Query<'_>, error: &io::Error) -> Vec<u8> {
    tracing::debug!(app = %query.app, %error, "the machine's own DNS servers did not answer");
    message::failure(query.message, SERVFAIL)
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
