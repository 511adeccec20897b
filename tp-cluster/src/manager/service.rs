//! The RPCs of `telepresence.manager.Manager` (facts/telepresence-wire.md §2). Those that serve intercepts answer
//! Unimplemented, or what clients and agents without intercepts need to hear.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tp_core::sessions::{ArriveError, Client};
use tp_proto::manager as wire;
use tp_proto::manager::manager_server::Manager;

use super::{Shared, agents};

#[derive(Clone, Debug)]
pub(super) struct Service(pub(super) Arc<Shared>);

/// A Telepresence client calls a manager whose name does not start with "OSS " an enterprise one.
const NAME: &str = "OSS Traffic Manager (tp)";

type Reply<T> = Result<Response<T>, Status>;
type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Manager for Service {
    async fn version(&self, _: Request<()>) -> Reply<wire::VersionInfo2> {
        let version = format!("v{}", env!("CARGO_PKG_VERSION"));
        Ok(Response::new(wire::VersionInfo2 { name: NAME.into(), version }))
    }

    async fn get_client_config(&self, _: Request<()>) -> Reply<wire::CliConfig> {
        let Some(path) = &self.0.client_config else { return Ok(Response::new(wire::CliConfig::default())) };
        // read each time: the file is a mounted ConfigMap, which follows edits
        match tokio::fs::read(path).await {
            Ok(config_yaml) => Ok(Response::new(wire::CliConfig { config_yaml: config_yaml.into() })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Response::new(wire::CliConfig::default()))
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read the client configuration");
                Err(Status::unavailable("the client configuration cannot be read"))
            }
        }
    }

    async fn arrive_as_client(&self, request: Request<wire::ClientInfo>) -> Reply<wire::SessionInfo> {
        let info = request.into_inner();
        let install_id = info.install_id.clone();
        let client = Client {
            name: info.name,
            install_id: info.install_id,
            product: info.product,
            version: info.version,
            namespace: info.namespace,
        };
        let (name, namespace) = (client.name.clone(), client.namespace.clone());
        let session_id = self.0.sessions.arrive(client).map_err(|error| not_admitted(&error))?;
        tracing::info!(session = session_id, client = name, namespace, "client arrived");
        let cluster_id = self.0.cluster_id.borrow().clone();
        Ok(Response::new(wire::SessionInfo { session_id, cluster_id, install_id: Some(install_id) }))
    }

    async fn remain(&self, request: Request<wire::RemainRequest>) -> Reply<()> {
        let session = session_id(request.into_inner().session);
        if self.0.sessions.remain(&session) { Ok(Response::new(())) } else { Err(unknown_session()) }
    }

    async fn depart(&self, request: Request<wire::SessionInfo>) -> Reply<()> {
        let session = request.into_inner().session_id;
        if self.0.sessions.depart(&session) {
            tracing::info!(session, "departed");
        }
        Ok(Response::new(()))
    }

    async fn set_log_level(&self, request: Request<wire::LogLevelRequest>) -> Reply<()> {
        let request = request.into_inner();
        self.0.agents_log_level.set(request.clone());
        // a negative or absurd duration means the same as none: until changed
        let duration = request.duration.and_then(|duration| Duration::try_from(duration).ok());
        self.0.log_level.set(&request.log_level, duration);
        Ok(Response::new(()))
    }

    async fn get_known_workload_kinds(
        &self,
        _: Request<wire::SessionInfo>,
    ) -> Reply<wire::KnownWorkloadKinds> {
        use wire::workload_info::Kind;
        let kinds = [Kind::Deployment, Kind::Replicaset, Kind::Statefulset].map(i32::from).to_vec();
        Ok(Response::new(wire::KnownWorkloadKinds { kinds }))
    }

    async fn lookup_dns(&self, request: Request<wire::DnsRequest>) -> Reply<wire::DnsResponse> {
        let request = request.into_inner();
        let client = self.0.sessions.client(&session_id(request.session)).ok_or_else(unknown_session)?;
        let answer = self.0.names.lookup(&request.name, request.r#type, &client.namespace).await;
        Ok(Response::new(wire::DnsResponse { r_code: answer.rcode as i32, rrs: answer.rrs }))
    }

    type WatchClusterInfoStream = Items<wire::ClusterInfo>;

    async fn watch_cluster_info(&self, _: Request<wire::SessionInfo>) -> Reply<Self::WatchClusterInfoStream> {
        Ok(Response::new(self.until_stopped(self.0.cluster.subscribe().map(Ok))))
    }

    type TunnelStream = Items<wire::TunnelMessage>;

    /// Front answers it, without a message being copied.
    async fn tunnel(&self, _: Request<Streaming<wire::TunnelMessage>>) -> Reply<Self::TunnelStream> {
        Err(Status::internal("a tunnel came to the wrong place"))
    }

    type WatchAgentPodsStream = Items<wire::AgentPodInfoSnapshot>;

    async fn watch_agent_pods(
        &self,
        request: Request<wire::SessionInfo>,
    ) -> Reply<Self::WatchAgentPodsStream> {
        let session = request.into_inner().session_id;
        let ended = self.session(&session)?;
        let namespace = self.0.sessions.client(&session).unwrap_or_default().namespace;
        let pods = agents::snapshots(self.0.sessions.agents(), move |all| agents::pods(all, &namespace));
        Ok(Response::new(self.until_stopped(until(pods, ended))))
    }

    type WatchAgentsStream = Items<wire::AgentInfoSnapshot>;

    async fn watch_agents(&self, request: Request<wire::SessionInfo>) -> Reply<Self::WatchAgentsStream> {
        let ended = self.session(&request.into_inner().session_id)?;
        let infos = agents::snapshots(self.0.sessions.agents(), agents::infos);
        Ok(Response::new(self.until_stopped(until(infos, ended))))
    }

    type WatchInterceptsStream = Items<wire::InterceptInfoSnapshot>;

    async fn watch_intercepts(
        &self,
        request: Request<wire::SessionInfo>,
    ) -> Reply<Self::WatchInterceptsStream> {
        let session = request.into_inner().session_id;
        // an empty id asks for everything
        let ended = if session.is_empty() { CancellationToken::new() } else { self.session(&session)? };
        Ok(Response::new(self.snapshot(wire::InterceptInfoSnapshot::default(), ended)))
    }

    type WatchDialStream = Items<wire::DialRequest>;

    /// Nothing is dialled on a workstation yet. As with Telepresence's manager, an unknown session hears nothing either.
    async fn watch_dial(&self, request: Request<wire::SessionInfo>) -> Reply<Self::WatchDialStream> {
        let ended = self.0.sessions.ended(&request.into_inner().session_id).unwrap_or_default();
        Ok(Response::new(self.until_stopped(until(stream::pending(), ended))))
    }

    type WatchLookupDNSStream = Items<wire::DnsRequest>;

    /// Names are looked up by the manager itself: an agent that follows is asked nothing.
    async fn watch_lookup_dns(
        &self,
        request: Request<wire::SessionInfo>,
    ) -> Reply<Self::WatchLookupDNSStream> {
        // an unknown session hears so at once, where Telepresence's manager leaves it waiting: the agent arrives anew
        let ended = self.session(&request.into_inner().session_id)?;
        Ok(Response::new(self.until_stopped(until(stream::pending(), ended))))
    }

    type WatchLogLevelStream = Items<wire::LogLevelRequest>;

    async fn watch_log_level(&self, _: Request<()>) -> Reply<Self::WatchLogLevelStream> {
        Ok(Response::new(self.until_stopped(self.0.agents_log_level.subscribe())))
    }

    async fn arrive_as_agent(&self, request: Request<wire::AgentInfo>) -> Reply<wire::SessionInfo> {
        let agent = agents::from_wire(request.into_inner());
        let (workload, namespace, pod) =
            (agent.workload.clone(), agent.namespace.clone(), agent.pod_name.clone());
        let session_id = self.0.sessions.arrive_agent(agent).map_err(|error| not_admitted(&error))?;
        tracing::info!(session = session_id, workload, namespace, pod, "agent arrived");
        let cluster_id = self.0.cluster_id.borrow().clone();
        Ok(Response::new(wire::SessionInfo { session_id, cluster_id, install_id: None }))
    }

    async fn get_agent_image_fqn(&self, _: Request<()>) -> Reply<wire::AgentImageFqn> {
        // what Telepresence's manager says when its injector is off
        Err(Status::unavailable("this manager injects no agents"))
    }

    /// Nothing was asked, so an answer is a late one: those are dropped without a word.
    async fn agent_lookup_dns_response(&self, _: Request<wire::DnsAgentResponse>) -> Reply<()> {
        Ok(Response::new(()))
    }

    async fn ensure_agent(&self, request: Request<wire::EnsureAgentRequest>) -> Reply<()> {
        let request = request.into_inner();
        let client = self.0.sessions.client(&session_id(request.session)).ok_or_else(unknown_session)?;
        agents::ensure(self.0.sessions.agents(), &client.namespace, &request.name).await?;
        Ok(Response::new(()))
    }

    async fn prepare_intercept(
        &self,
        _: Request<wire::CreateInterceptRequest>,
    ) -> Reply<wire::PreparedIntercept> {
        Err(no_intercepts())
    }

    async fn create_intercept(&self, _: Request<wire::CreateInterceptRequest>) -> Reply<wire::InterceptInfo> {
        Err(no_intercepts())
    }

    async fn remove_intercept(&self, _: Request<wire::RemoveInterceptRequest2>) -> Reply<()> {
        Err(no_intercepts())
    }

    async fn get_intercept(&self, _: Request<wire::GetInterceptRequest>) -> Reply<wire::InterceptInfo> {
        Err(no_intercepts())
    }

    /// A review by nobody is ignored; there is no intercept that an agent could review.
    async fn review_intercept(&self, request: Request<wire::ReviewInterceptRequest>) -> Reply<()> {
        if self.0.sessions.is_agent(&session_id(request.into_inner().session)) {
            return Err(Status::not_found("there is no such intercept"));
        }
        Ok(Response::new(()))
    }

    async fn report_metrics(&self, request: Request<wire::TunnelMetrics>) -> Reply<()> {
        let wire::TunnelMetrics { client_session_id, ingress_bytes, egress_bytes } = request.into_inner();
        tracing::debug!(
            client = client_session_id,
            ingress_bytes,
            egress_bytes,
            "a flow through an agent ended"
        );
        Ok(Response::new(()))
    }
}

impl Service {
    fn session(&self, id: &str) -> Result<CancellationToken, Status> {
        self.0.sessions.ended(id).ok_or_else(unknown_session)
    }

    /// One snapshot at once, even an empty one, then silence until the session ends.
    fn snapshot<T: Send + 'static>(&self, snapshot: T, ended: CancellationToken) -> Items<T> {
        let silence = until(stream::pending(), ended);
        self.until_stopped(stream::once(async { Ok(snapshot) }).chain(silence))
    }

    fn until_stopped<T: Send + 'static>(
        &self,
        items: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> Items<T> {
        Box::pin(until(items, self.0.stopping.begun.clone()))
    }
}

fn until<S: Stream>(items: S, end: CancellationToken) -> impl Stream<Item = S::Item> {
    items.take_until(end.cancelled_owned())
}

fn session_id(session: Option<wire::SessionInfo>) -> String {
    session.unwrap_or_default().session_id
}

fn unknown_session() -> Status {
    Status::not_found("this manager does not know the session")
}

fn no_intercepts() -> Status {
    Status::unimplemented("this manager has no intercepts yet")
}

fn not_admitted(error: &ArriveError) -> Status {
    match error {
        ArriveError::Full(_) => Status::resource_exhausted(error.to_string()),
        _ => Status::invalid_argument(error.to_string()),
    }
}
