//! The connections that carry tunnel streams. What is queued behind bulk waits in the sockets of every hop, where no priority
//! reaches it: only another connection does. So calls have one for themselves, and a new flow takes one that is quiet.

mod load;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::dial::{Answerer, Dial, OpenError, open};
use super::{Auth, Channel, Connector, channel};
use crate::stream::{Meter, TunnelStream};
use load::{Load, choose};

/// Connections for flows, as long as the peer's limit of streams does not ask for more (facts §0.2.5).
const CONNECTIONS: usize = 4;
/// A flow waits no longer than this for a connection that is quiet: bulk delays it by about as much.
const WORTH_WAITING: Duration = Duration::from_millis(250);
/// A connection that is not needed is closed after this time.
const UNUSED: Duration = Duration::from_secs(60);

/// Opens tunnel streams over few connections.
#[derive(Clone)]
pub struct Tunnels(Arc<Inner>);

struct Inner {
    connector: Arc<dyn Connector>,
    auth: Auth,
    answerer: Answerer,
    limit: usize,
    pool: Mutex<Pool>,
}

struct Pool {
    connections: Vec<Connection>,
    /// Until then it is not worth while to try to open one more.
    hopeless_until: Option<Instant>,
}

struct Connection {
    channel: Channel,
    live: Arc<AtomicUsize>,
    meter: Meter,
    load: Load,
    used: Instant,
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
    /// Calls go over `first`; it carries flows only until there is another connection. `limit` is how many tunnel streams
    /// one connection may carry. To be called in a runtime.
    pub fn new(first: Channel, connector: Arc<dyn Connector>, auth: Auth, limit: usize) -> Self {
        let tunnels = Self::to(Answerer::Manager, first, connector, auth, limit);
        let inner = Arc::downgrade(&tunnels.0);
        tokio::spawn(async move {
            let Some(inner) = inner.upgrade() else { return };
            match inner.connect().await {
                Ok(connection) => inner.pool.lock().await.connections = vec![connection],
                Err(error) => tracing::debug!(%error, "flows share the connection of the calls"),
            }
        });
        tunnels
    }

    /// The same to an agent, which asks for no token: who reaches its port has been let in by the cluster. Hardly a call
    /// goes there.
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
        let pool = Mutex::new(Pool { connections: vec![Connection::new(first)], hopeless_until: None });
        Self(Arc::new(Inner { connector, auth, answerer, limit, pool }))
    }

    /// Opens a stream and waits for the dial at the far end. The slot must live as long as the stream.
    pub async fn open(&self, dial: Dial) -> Result<(TunnelStream, Slot), OpenError> {
        let (channel, meter, slot) = self.0.slot().await?;
        let mut stream = open(channel, self.0.answerer, dial).await?;
        stream.meter(&meter);
        Ok((stream, slot))
    }

    /// Number of connections that flows use.
    pub async fn connections(&self) -> usize {
        self.0.pool.lock().await.connections.len()
    }
}

impl Inner {
    async fn slot(&self) -> Result<(Channel, Meter, Slot), OpenError> {
        let now = Instant::now();
        let mut pool = self.pool.lock().await;
        let Pool { connections, hopeless_until } = &mut *pool;
        for connection in connections.iter_mut() {
            connection.load.measure(connection.meter.bytes(), now);
        }
        let mut index = 0;
        connections.retain(|connection| {
            index += 1;
            let unused = connection.live.load(Ordering::Relaxed) == 0 && now - connection.used > UNUSED;
            index == 1 || !unused
        });
        let loads = connections.iter().map(|connection| {
            let room = connection.live.load(Ordering::Relaxed) < self.limit;
            room.then_some(connection.load)
        });
        let (chosen, quiet) = choose(loads);
        let index = match chosen {
            Some(index) if quiet || connections.len() >= CONNECTIONS => index,
            // held across the await on purpose: flows that come meanwhile need the same new connection
            Some(busy) if hopeless_until.is_some_and(|until| now < until) => busy,
            Some(busy) => match tokio::time::timeout(WORTH_WAITING, self.connect()).await {
                Ok(Ok(connection)) => {
                    connections.push(connection);
                    connections.len() - 1
                }
                Ok(Err(_)) | Err(_) => {
                    *hopeless_until = Some(now + WORTH_WAITING * 20);
                    busy
                }
            },
            None => {
                let connection = self.connect().await;
                connections.push(connection.map_err(|error| OpenError::Transport(error.to_string()))?);
                connections.len() - 1
            }
        };
        let connection = &mut connections[index];
        connection.used = now;
        connection.live.fetch_add(1, Ordering::Relaxed);
        let slot = Slot(Arc::clone(&connection.live));
        Ok((connection.channel.clone(), connection.meter.clone(), slot))
    }

    async fn connect(&self) -> std::io::Result<Connection> {
        channel(Arc::clone(&self.connector), self.auth.clone()).await.map(Connection::new)
    }
}

impl Connection {
    fn new(channel: Channel) -> Self {
        let now = Instant::now();
        Self { channel, live: Arc::default(), meter: Meter::default(), load: Load::new(now), used: now }
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
