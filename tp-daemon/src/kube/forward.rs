//! Byte streams to pods, each one a port-forward through the API server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{Request, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::client::Body;
use kube::{Api, Client, ResourceExt};
use tp_proto::client::{Connecting, Connector, Io};

use super::find::ManagerService;
use super::spdy::SpdyPort;
use super::websocket::ForwardedPort;

/// Connects to whichever pod of the manager runs at that moment: a manager that moved is found again.
pub(super) struct PortForward(Arc<Inner>);

struct Inner {
    client: Client,
    manager: ManagerService,
}

/// The Service port that carries the gRPC API (facts §5.5).
const API_PORT: &str = "api";

/// Then a WebSocket gets its turn, still within the patience of whoever waits for us.
const SPDY_WITHIN: Duration = Duration::from_secs(4);

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

/// By SPDY, or where something on the way does not let that pass, by a WebSocket.
async fn forward(
    client: &Client,
    namespace: &str,
    pod: String,
    port: u16,
) -> Result<Box<dyn Io>, ForwardError> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/portforward");
    match tokio::time::timeout(SPDY_WITHIN, by_spdy(client, &path, port)).await {
        Ok(Ok(connection)) => {
            tracing::info!(pod, port, "port-forward opened");
            return Ok(Box::new(connection));
        }
        Ok(Err(error)) => tracing::info!(pod, port, %error, "no port-forward by SPDY, trying a WebSocket"),
        Err(_) => tracing::info!(pod, port, "no answer to SPDY, trying a WebSocket"),
    }
    // whatever is wrong with the pod or with our rights is said in answer to this one
    let request = Request::get(format!("{path}?ports={port}")).body(Vec::new());
    match client.connect(request.map_err(|_| ForwardError::NoPort)?).await {
        Ok(connection) => {
            tracing::info!(pod, port, "port-forward opened by a WebSocket");
            Ok(Box::new(ForwardedPort::new(connection.into_stream())))
        }
        Err(error) => Err(ForwardError::Forward(pod, error)),
    }
}

/// `GET`, as for a WebSocket: it takes the same right, and servers do not tell the two apart.
async fn by_spdy(client: &Client, path: &str, port: u16) -> anyhow::Result<SpdyPort<TokioIo<Upgraded>>> {
    let request = Request::get(path)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "SPDY/3.1")
        .header("X-Stream-Protocol-Version", "portforward.k8s.io")
        .body(Body::empty())?;
    let response = client.send(request).await?;
    anyhow::ensure!(response.status() == StatusCode::SWITCHING_PROTOCOLS, "{}", response.status());
    let upgraded = hyper::upgrade::on(response).await?;
    Ok(SpdyPort::open(TokioIo::new(upgraded), port).await?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

    /// The head of a request, and its connection.
    async fn request(listener: &TcpListener) -> (String, TcpStream) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(stream.read_u8().await.unwrap()));
        }
        (head, stream)
    }

    async fn server() -> (TcpListener, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = super::super::client::client(&kube::Config::new(url.parse().unwrap())).unwrap();
        (listener, client)
    }

    #[tokio::test]
    async fn spdy_where_it_passes() {
        let (listener, client) = server().await;
        let serve = async {
            let (head, mut stream) = request(&listener).await;
            assert!(
                head.starts_with("GET /api/v1/namespaces/ambassador/pods/manager-1/portforward HTTP/1.1")
            );
            stream
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n",
                )
                .await
                .unwrap();
            stream.write_all(&[0x80, 3, 0, 2, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 2]).await.unwrap();
            stream.write_all(b"hi").await.unwrap();
            stream
        };
        let (forwarded, _stream) =
            tokio::join!(forward(&client, "ambassador", "manager-1".into(), 8081), serve);
        assert_eq!(forwarded.unwrap().read_u16().await.unwrap().to_be_bytes(), *b"hi");
    }

    #[tokio::test]
    async fn a_websocket_where_spdy_does_not_pass() {
        let (listener, client) = server().await;
        let serve = async {
            let (head, mut stream) = request(&listener).await;
            assert!(head.contains("SPDY/3.1"), "{head}");
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .await
                .unwrap();
            drop(stream);
            let (head, mut stream) = request(&listener).await;
            let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
            let accept = derive_accept_key(key.as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.write_all(b"\x82\x03\0\x91\x1f\x82\x03\0hi").await.unwrap();
            stream
        };
        let (forwarded, _stream) =
            tokio::join!(forward(&client, "ambassador", "manager-1".into(), 8081), serve);
        assert_eq!(forwarded.unwrap().read_u16().await.unwrap().to_be_bytes(), *b"hi");
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_once() {
        let (listener, client) = server().await;
        let serve = async {
            for _ in 0..2 {
                let (_, mut stream) = request(&listener).await;
                let body = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no such pod","reason":"NotFound","code":404}"#;
                let answer = format!(
                    "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let (forwarded, ()) = tokio::join!(forward(&client, "ambassador", "manager-1".into(), 8081), serve);
        let error = forwarded.err().unwrap().to_string();
        assert!(error.contains("manager-1") && error.contains("no such pod"), "{error}");
    }
}
