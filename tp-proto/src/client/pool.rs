//! The connections that carry tunnel streams. One carries everything, until the peer's limit of streams per HTTP/2
//! connection would make the next flow wait without a word (facts §0.2.5); then one more is opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Mutex;

use super::dial::{Answerer, Dial, OpenError, open};
use super::{Auth, Channel, Connector, channel};
use crate::stream::TunnelStream;

/// Opens tunnel streams over as few connections as the peer's stream limit allows.
#[derive(Clone)]
pub struct Tunnels(Arc<Inner>);

struct Inner {
    connector: Arc<dyn Connector>,
    auth: Auth,
    answerer: Answerer,
    limit: usize,
    connections: Mutex<Vec<Connection>>,
}

#[derive(Clone)]
struct Connection {
    channel: Channel,
    live: Arc<AtomicUsize>,
}

/// Counts a stream on its connection for as long as it lives.
#[derive(Debug)]
pub struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tunnels {
    /// `first` also carries the control calls; `limit` is how many tunnel streams one connection may carry.
    pub fn new(first: Channel, connector: Arc<dyn Connector>, auth: Auth, limit: usize) -> Self {
        Self::to(Answerer::Manager, first, connector, auth, limit)
    }

    /// The same to an agent, which asks for no token: who reaches its port has been let in by the cluster.
    pub fn to_agent(first: Channel, connector: Arc<dyn Connector>, limit: usize) -> Self {
        Self::to(Answerer::Agent, first, connector, Auth::default(), limit)
    }

    fn to(
        answerer: Answerer,
        first: Channel,
        connector: Arc<dyn Connector>,
        auth: Auth,
        limit: usize,
    ) -> Self {
        let connections = Mutex::new(vec![Connection { channel: first, live: Arc::default() }]);
        Self(Arc::new(Inner { connector, auth, answerer, limit, connections }))
    }

    /// Opens a stream and waits for the dial at the far end. The slot must live as long as the stream.
    pub async fn open(&self, dial: Dial) -> Result<(TunnelStream, Slot), OpenError> {
        let (channel, slot) = self.slot().await?;
        Ok((open(channel, self.0.answerer, dial).await?, slot))
    }

    /// Number of connections in use.
    pub async fn connections(&self) -> usize {
        self.0.connections.lock().await.len()
    }

    async fn slot(&self) -> Result<(Channel, Slot), OpenError> {
        let mut connections = self.0.connections.lock().await;
        let index = match connections.iter().position(|c| c.live.load(Ordering::Relaxed) < self.0.limit) {
            Some(index) => index,
            None => {
                // held across the await on purpose: flows that come meanwhile need the same new connection
                let channel = channel(Arc::clone(&self.0.connector), self.0.auth.clone())
                    .await
                    .map_err(|error| OpenError::Transport(error.to_string()))?;
                connections.push(Connection { channel, live: Arc::default() });
                connections.len() - 1
            }
        };
        let connection = &connections[index];
        connection.live.fetch_add(1, Ordering::Relaxed);
        Ok((connection.channel.clone(), Slot(Arc::clone(&connection.live))))
    }
}

impl std::fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnels")
            .field("to", &self.0.answerer)
            .field("limit", &self.0.limit)
            .finish_non_exhaustive()
    }
}
