//! Byte streams to pods, each one a port-forward through the API server.

use std::io;
use std::sync::Arc;

use http::Request;
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tp_proto::client::{Connecting, Connector, Io};

use super::find::ManagerService;
use super::websocket::ForwardedPort;

/// Connects to whichever pod of the manager runs at that moment: a manager that moved is found again.
pub(super) struct PortForward(Arc<Inner>);

struct Inner {
    client: Client,
    manager: ManagerService,
}

/// The Service port that carries the gRPC API (facts §5.5).
const API_PORT: &str = "api";

impl PortForward {
    pub(super) fn new(client: Client, manager: ManagerService) -> Self {
        Self(Arc::new(Inner { client, manager }))
    }
}

impl Connector for PortForward {
    fn connect(&self) -> Connecting {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.connect().await.map_err(io::Error::other) })
    }
}

#[derive(Debug, thiserror::Error)]
enum ForwardError {
    #[error("the Service has no port named {API_PORT}")]
    NoPort,
    #[error("no pod of the traffic-manager is running in namespace {0}")]
    NoPod(String),
    #[error("listing the traffic-manager's pods: {0}")]
    List(#[source] kube::Error),
    #[error("port-forward to pod {0}: {1}")]
    Forward(String, #[source] kube::Error),
}

impl Inner {
    async fn connect(&self) -> Result<Box<dyn Io>, ForwardError> {
        let port = api_port(&self.manager.service).ok_or(ForwardError::NoPort)?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.manager.namespace);
        let list = pods
            .list(&ListParams::default().labels(&selector(&self.manager.service)))
            .await
            .map_err(ForwardError::List)?;
        let pod = list
            .items
            .iter()
            .filter(|pod| is_running(pod))
            // a ready one first, then the youngest: during a rollout that is the one that stays
            .max_by_key(|pod| (is_ready(pod), pod.creation_timestamp().map(|time| time.0)))
            .ok_or_else(|| ForwardError::NoPod(self.manager.namespace.clone()))?;
        let name = pod.name_any();
        let number = container_port(pod, port).ok_or(ForwardError::NoPort)?;
        forward(&self.client, &self.manager.namespace, name, number).await
    }
}

/// The way to any pod that the user may reach.
#[derive(Clone)]
pub struct Pods(Client);

impl Pods {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    /// Connects to one port of one pod, each time anew.
    pub fn connector(&self, namespace: &str, pod: &str, port: u16) -> Arc<dyn Connector> {
        let pods = self.clone();
        Arc::new(OnePod { pods, namespace: namespace.to_owned(), pod: pod.to_owned(), port })
    }
}

impl std::fmt::Debug for Pods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pods").finish_non_exhaustive()
    }
}

struct OnePod {
    pods: Pods,
    namespace: String,
    pod: String,
    port: u16,
}

impl Connector for OnePod {
    fn connect(&self) -> Connecting {
        let (pods, namespace, pod) = (self.pods.clone(), self.namespace.clone(), self.pod.clone());
        let port = self.port;
        Box::pin(async move { forward(&pods.0, &namespace, pod, port).await.map_err(io::Error::other) })
    }
}

async fn forward(
    client: &Client,
    namespace: &str,
    pod: String,
    port: u16,
) -> Result<Box<dyn Io>, ForwardError> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}");
    let request = Request::get(path).body(Vec::new()).map_err(|_| ForwardError::NoPort)?;
    match client.connect(request).await {
        Ok(connection) => {
            tracing::info!(pod, port, "port-forward opened");
            Ok(Box::new(ForwardedPort::new(connection.into_stream())))
        }
        Err(error) => Err(ForwardError::Forward(pod, error)),
    }
}

fn api_port(service: &Service) -> Option<&ServicePort> {
    service.spec.as_ref()?.ports.as_ref()?.iter().find(|port| port.name.as_deref() == Some(API_PORT))
}

pub(super) fn selector(service: &Service) -> String {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
    selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn container_port(pod: &Pod, port: &ServicePort) -> Option<u16> {
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = &pod.spec.as_ref()?.containers;
            let ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
            ports.into_iter().find(|port| port.name.as_ref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok()
}

fn is_running(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
