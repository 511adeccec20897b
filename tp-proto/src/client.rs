//! The client's side of the wire: connections to a manager (or an agent), and tunnel streams over them.

mod dial;
mod pool;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

pub use dial::{Dial, OpenError};
pub use pool::{Slot, Tunnels};

/// A byte stream to the peer: a port-forward, a TCP connection, TLS.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The future of a new byte stream.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Makes a new byte stream to the same peer each time it is called.
pub trait Connector: Send + Sync + 'static {
    fn connect(&self) -> Connecting;
}

/// A gRPC channel that sends our token, if there is one.
pub type AuthChannel = InterceptedService<Channel, Auth>;
pub type ManagerClient = crate::manager::manager_client::ManagerClient<AuthChannel>;
pub type AgentClient = crate::agent::agent_client::AgentClient<AuthChannel>;

/// Adds `authorization: Bearer TOKEN` to each call. A manager in a cluster needs none: the API server authenticated us.
#[derive(Clone, Debug, Default)]
pub struct Auth(Option<MetadataValue<Ascii>>);

impl Auth {
    /// `None` if the token has characters that no header can carry.
    pub fn bearer(token: &str) -> Option<Self> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
        value.set_sensitive(true);
        Some(Self(Some(value)))
    }
}

impl Interceptor for Auth {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// HTTP/2 receive window of one flow, in bytes: 1 Gbit/s at 30 ms. Memory is used only as far as a slow reader lets data
/// pile up.
const STREAM_WINDOW: u32 = 4 << 20;

/// That of the connection is as large as HTTP/2 allows: with less, a few apps that do not read would use it up, and every
/// other flow would stand still.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// HTTP/2 frame, in bytes: the largest message of our own, a whole read of a socket, goes into one.
const FRAME: u32 = 128 * 1024;

/// Largest message we take. Telepresence peers send data in pieces of up to 1 MiB + 1 (facts §1).
pub const MAX_MESSAGE: usize = 4 << 20;

/// Opens one HTTP/2 connection (cleartext HTTP/2 with prior knowledge over whatever the connector gives). It connects
/// again by itself when it breaks; calls in progress fail.
pub async fn channel(
    connector: Arc<dyn Connector>,
    auth: Auth,
) -> Result<AuthChannel, tonic::transport::Error> {
    // The authority must be plain: h2 refuses the `%2F` that Telepresence's own client sends (facts §0.2.1)
    let endpoint = Endpoint::from_static("http://traffic-manager")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(true);
    let service = tower::service_fn(move |_| {
        let connector = Arc::clone(&connector);
        async move { connector.connect().await.map(TokioIo::new) }
    });
    let channel = endpoint.connect_with_connector(service).await?;
    Ok(InterceptedService::new(channel, auth))
}

/// A manager client over `channel` with the message size limit of [`MAX_MESSAGE`].
pub fn manager(channel: AuthChannel) -> ManagerClient {
    ManagerClient::new(channel).max_decoding_message_size(MAX_MESSAGE)
}

/// The same for an agent.
pub fn agent(channel: AuthChannel) -> AgentClient {
    AgentClient::new(channel).max_decoding_message_size(MAX_MESSAGE)
}
