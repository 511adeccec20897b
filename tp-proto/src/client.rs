//! The client's side of the wire: connections to a manager (or an agent), and tunnel streams over them.

mod dial;
mod pool;

use std::io;
use std::sync::Arc;

use http::HeaderValue;

pub use crate::http2::{Channel, Connecting, Connector, Io};
pub use dial::{Dial, OpenError};
pub use pool::{Slot, Tunnels};

pub type ManagerClient = crate::manager::manager_client::ManagerClient<Channel>;
pub type BenchClient = crate::bench::bench_client::BenchClient<Channel>;
pub type AgentClient = crate::agent::agent_client::AgentClient<Channel>;

/// Adds `authorization: Bearer TOKEN` to each call. A manager in a cluster needs none: the API server authenticated us.
#[derive(Clone, Debug, Default)]
pub struct Auth(Option<HeaderValue>);

impl Auth {
    /// `None` if the token has characters that no header can carry.
    pub fn bearer(token: &str) -> Option<Self> {
        let mut value: HeaderValue = format!("Bearer {token}").parse().ok()?;
        value.set_sensitive(true);
        Some(Self(Some(value)))
    }
}

/// Largest message we take. Telepresence peers send data in pieces of up to 1 MiB + 1 (facts §1).
pub const MAX_MESSAGE: usize = 4 << 20;

/// Opens one HTTP/2 connection (cleartext HTTP/2 with prior knowledge over whatever the connector gives). It connects
/// again by itself when it breaks; calls in progress fail.
pub async fn channel(connector: Arc<dyn Connector>, auth: Auth) -> io::Result<Channel> {
    Channel::new(connector, auth.0).await
}

/// A manager client over `channel` with the message size limit of [`MAX_MESSAGE`].
pub fn manager(channel: Channel) -> ManagerClient {
    ManagerClient::new(channel).max_decoding_message_size(MAX_MESSAGE)
}

/// What a manager of ours offers beside.
pub fn bench(channel: Channel) -> BenchClient {
    BenchClient::new(channel)
}

/// The same for an agent.
pub fn agent(channel: Channel) -> AgentClient {
    AgentClient::new(channel).max_decoding_message_size(MAX_MESSAGE)
}
