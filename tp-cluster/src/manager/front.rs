//! What one port answers: gRPC, its health service, and a hello to whoever speaks HTTP/1.1.
//!
//! A real Telepresence client's calls do not come this far: it sends `:authority: svc%2Ftraffic-manager.NS:api`, and h2
//! resets a request whose authority it cannot parse before any service sees it (facts/telepresence-wire.md §0.2.1).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Body as HttpBody;
use subtle::ConstantTimeEq;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::ServiceExt;
use tp_proto::bench::bench_server::BenchServer;
use tp_proto::http2::{Answer, ReceivedBody};
use tp_proto::manager::manager_server::ManagerServer;
use tp_proto::stream::{FrameReceiver, FrameSender};

use super::Shared;
use super::bench::BenchService;
use super::service::Service;
use super::tunnel;

type Grpc = ManagerServer<Service>;
type Bench = BenchServer<BenchService>;
type Health = HealthServer<HealthService>;

/// Serves the requests of all connections.
#[derive(Clone)]
pub(super) struct Front {
    manager: Grpc,
    bench: Bench,
    health: Health,
    shared: Arc<Shared>,
    max_message: usize,
    /// What a client must show; nothing inside a cluster, where the API server has admitted it.
    token: Option<Arc<str>>,
}

impl Front {
    pub(super) fn new(shared: Arc<Shared>, max_message: usize, token: Option<Arc<str>>) -> Self {
        // the empty service name is SERVING from the start, which is all that a kubelet asks for
        let health = HealthService::from_health_reporter(HealthReporter::new());
        let manager = ManagerServer::new(Service(Arc::clone(&shared))).max_decoding_message_size(max_message);
        let bench = BenchServer::new(BenchService(Arc::clone(&shared)));
        Self { manager, bench, health: HealthServer::new(health), shared, max_message, token }
    }

    fn is_admitted(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let shown = shown.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
        shown.ct_eq(token.as_bytes()).into()
    }
}

impl Answer for Front {
    fn is_tunnel(&self, head: &Parts) -> bool {
        head.uri.path() == tp_proto::MANAGER_TUNNEL
            && is_grpc(head.version, &head.headers)
            && self.is_admitted(&head.headers)
    }

    async fn tunnel(&self, mut rx: FrameReceiver, tx: FrameSender) {
        rx.limit(self.max_message);
        tunnel::serve(&self.shared, rx, tx).await;
    }

    async fn call(&self, request: Request<ReceivedBody>) -> Response<Body> {
        let Ok(response) = self.clone().oneshot(request).await;
        response
    }
}

impl<B> tower::Service<Request<B>> for Front
where
    B: HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        if !is_grpc(request.version(), request.headers()) {
            let text = format!("tp traffic-manager, a gRPC server. You asked for {path}\n");
            return Box::pin(async { Ok(hello(text)) });
        }
        if is_for::<Health>(path) {
            return Box::pin(self.health.clone().oneshot(request));
        }
        if !self.is_admitted(request.headers()) {
            tracing::warn!(path, "call without a valid token refused");
            return Box::pin(async {
                Ok(Status::unauthenticated("the token is missing or not this manager's").into_http())
            });
        }
        if is_for::<Grpc>(path) {
            return Box::pin(self.manager.call(request));
        }
        if is_for::<Bench>(path) {
            return Box::pin(self.bench.clone().oneshot(request));
        }
        Box::pin(async { Ok(Status::unimplemented("no such service").into_http()) })
    }
}

fn is_for<S: NamedService>(path: &str) -> bool {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(S::NAME));
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// As Telepresence's manager decides (facts/telepresence-wire.md §1).
fn is_grpc(version: Version, headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    version == Version::HTTP_2 && content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

fn hello(text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("token", &self.token.is_some()).finish_non_exhaustive()
    }
}
