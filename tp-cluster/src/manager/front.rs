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
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use subtle::ConstantTimeEq;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::ServiceExt;
use tp_proto::manager::manager_server::ManagerServer;

use super::service::Service;

type Grpc = ManagerServer<Service>;
type Health = HealthServer<HealthService>;

/// Serves the requests of all connections.
#[derive(Clone)]
pub(super) struct Front {
    manager: Grpc,
    health: Health,
    /// What a client must show; nothing inside a cluster, where the API server has admitted it.
    token: Option<Arc<str>>,
}

impl Front {
    pub(super) fn new(service: Service, max_message: usize, token: Option<Arc<str>>) -> Self {
        // the empty service name is SERVING from the start, which is all that a kubelet asks for
        let health = HealthService::from_health_reporter(HealthReporter::new());
        let manager = ManagerServer::new(service).max_decoding_message_size(max_message);
        Self { manager, health: HealthServer::new(health), token }
    }

    pub(super) fn hyper(self) -> TowerToHyperService<Self> {
        TowerToHyperService::new(self)
    }

    fn is_admitted(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let shown = shown.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
        shown.ct_eq(token.as_bytes()).into()
    }
}

impl tower::Service<Request<Incoming>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        if !is_grpc(&request) {
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
        Box::pin(async { Ok(Status::unimplemented("no such service").into_http()) })
    }
}

fn is_for<S: NamedService>(path: &str) -> bool {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(S::NAME));
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// As Telepresence's manager decides (facts/telepresence-wire.md §1).
fn is_grpc<B>(request: &Request<B>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    request.version() == Version::HTTP_2
        && content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
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
