//! The client's side: one connection to a peer, made anew when it breaks.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::client::{ResponseFuture, SendRequest};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tonic::Status;
use tonic::body::Body;

use super::body::send_body;
use super::delays::Delays;
use super::gather::Gather;
use super::held::Windows;
use super::keep_alive::unanswered;
use super::{CONNECTION_WINDOW, FRAME, Flows, Piece, ReceivedBody, SEND_BUFFER, STREAM_WINDOW, status_of};

const PING_EVERY: Duration = Duration::from_secs(10);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// A byte stream to the peer: a port-forward, a TCP connection, TLS.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The future of a new byte stream.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Makes a new byte stream to the same peer each time it is called.
pub trait Connector: Send + Sync + 'static {
    fn connect(&self) -> Connecting;
}

/// Calls to one peer. Cheap to clone; calls in progress fail when the connection breaks, the next one makes a new one.
#[derive(Clone)]
pub struct Channel(Arc<Inner>);

struct Inner {
    connector: Arc<dyn Connector>,
    /// `authorization` of each call.
    token: Option<HeaderValue>,
    current: Mutex<Current>,
}

/// The connection that takes calls now, and the flows on it.
type Current = (SendRequest<Piece>, Flows);

/// A call that has been made, its request body still open.
pub(crate) struct Calling {
    pub(crate) request: h2::SendStream<Piece>,
    pub(crate) response: ResponseFuture,
    /// Of the same connection.
    pub(crate) flows: Flows,
}

impl Channel {
    /// Connects.
    pub(crate) async fn new(connector: Arc<dyn Connector>, token: Option<HeaderValue>) -> io::Result<Self> {
        let current = Mutex::new(open(&*connector).await?);
        Ok(Self(Arc::new(Inner { connector, token, current })))
    }

    /// Calls a method whose request body the caller writes himself.
    pub(crate) async fn start(&self, path: &'static str) -> Result<Calling, Status> {
        let mut head = Request::new(());
        *head.method_mut() = Method::POST;
        *head.uri_mut() = Uri::from_static(path);
        let headers = head.headers_mut();
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        self.call(head).await
    }

    async fn call(&self, mut head: Request<()>) -> Result<Calling, Status> {
        let mut uri = std::mem::take(head.uri_mut()).into_parts();
        uri.scheme = Some(Scheme::HTTP);
        // must be plain: h2 refuses the `%2F` that Telepresence's own client sends (facts §0.2.1)
        uri.authority = Some(Authority::from_static("traffic-manager"));
        *head.uri_mut() = Uri::from_parts(uri).map_err(|error| Status::internal(error.to_string()))?;
        *head.version_mut() = Version::HTTP_2;
        self.decorate(head.headers_mut());
        let (mut sender, flows) = self.ready().await?;
        let (response, request) = sender.send_request(head, false).map_err(status_of)?;
        Ok(Calling { request, response, flows })
    }

    fn decorate(&self, headers: &mut HeaderMap) {
        const USER_AGENT: &str = concat!("tp/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(token) = &self.0.token {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
    }

    /// A connection that takes one more call; waits while the peer's limit of streams is reached.
    async fn ready(&self) -> Result<Current, Status> {
        let (sender, flows) = self.0.current.lock().await.clone();
        if let Ok(ready) = sender.ready().await {
            return Ok((ready, flows));
        }
        // held across the await on purpose: calls that come meanwhile need the same new connection
        let mut current = self.0.current.lock().await;
        let (sender, flows) = current.clone();
        let opened = match sender.ready().await {
            Ok(ready) => return Ok((ready, flows)), // somebody was faster
            Err(_) => open(&*self.0.connector).await,
        };
        *current = opened.map_err(|error| Status::unavailable(error.to_string()))?;
        let (sender, flows) = current.clone();
        drop(current);
        Ok((sender.ready().await.map_err(status_of)?, flows))
    }
}

/// Makes a connection, which lives until nobody uses it any more or it breaks.
async fn open(connector: &dyn Connector) -> io::Result<Current> {
    let io = connector.connect().await?;
    let (sender, mut connection) = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buffer_size(2 * SEND_BUFFER) // of flows less waits: see `Unsent::poll_fits`
        // as on the server's side
        .max_local_error_reset_streams(None)
        .max_concurrent_reset_streams(4096)
        .handshake(io)
        .await
        .map_err(io::Error::other)?;
    let flows = Flows::default();
    let driven = flows.clone();
    let mut windows = Windows::new(flows.clone());
    tokio::spawn(async move {
        let mut gather = Gather::default();
        let delays = Some(Delays::new(driven.clone()));
        let mut gone = std::pin::pin!(unanswered(connection.ping_pong(), PING_EVERY, PONG_WITHIN, delays));
        loop {
            let gathered = std::future::poll_fn(|cx| {
                std::task::ready!(gather.poll(driven.count(), cx));
                Pin::new(&mut connection).poll(cx)
            });
            tokio::select! {
                ended = gathered => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection broke");
                    }
                    return;
                }
                () = &mut gone => {
                    tracing::warn!("the peer answers no ping: the connection is given up");
                    return;
                }
                window = windows.next() => {
                    // the other case: the peer has not confirmed the last one yet; the next look comes soon
                    if connection.set_initial_window_size(window).is_ok() {
                        windows.are(window);
                    }
                }
            }
        }
    });
    Ok((sender, flows))
}

/// Every call but the tunnel.
impl tower::Service<Request<Body>> for Channel {
    type Response = Response<ReceivedBody>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let channel = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let calling = Self::call(&channel, Request::from_parts(head, ())).await?;
            // the answer may come before the request has ended
            tokio::spawn(async move {
                if let Err(error) = send_body(body, calling.request).await {
                    tracing::debug!(%error, "a request broke off");
                }
            });
            let response = calling.response.await.map_err(status_of)?;
            Ok(response.map(ReceivedBody::new))
        })
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("token", &self.0.token.is_some()).finish_non_exhaustive()
    }
}
