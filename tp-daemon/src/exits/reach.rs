//! The way to one agent: a port-forward to its pod, or a tunnel stream through the manager.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, watch};
use tp_core::addr::{AppAddr, ClusterAddr};
use tp_core::flow::Proto;
use tp_core::tunnel::ConnId;
use tp_proto::client::{AgentClient, Auth, Connecting, Connector, Dial, Io, Tunnels, agent, channel};
use tp_proto::stream::TunnelBytes;

use super::pods::Pod;
use crate::flows;
use crate::kube;

/// For an agent's first word, the way there included (facts/telepresence-wire.md §2.2).
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const ROUNDTRIP: Duration = Duration::from_secs(2);

/// An agent takes as many streams per connection as Telepresence's manager, 250, and lets the next one wait without a
/// word (facts §0.2.5).
const STREAMS: usize = 200;

pub(super) struct Reach {
    cluster: Option<kube::Pods>,
    manager: watch::Receiver<Option<flows::Exit>>,
}

/// An agent that has answered.
pub(super) struct Greeted {
    client: AgentClient,
    pub(super) tunnels: Tunnels,
    /// For people: how it is reached.
    pub(super) way: &'static str,
    /// Told whenever a connection to it ends.
    pub(super) lost: Arc<Notify>,
}

impl Reach {
    pub(super) fn new(cluster: Option<kube::Pods>, manager: watch::Receiver<Option<flows::Exit>>) -> Self {
        Self { cluster, manager }
    }

    /// Tries the ways one after the other.
    pub(super) async fn greet(&self, pod: &Pod) -> Result<Greeted, String> {
        let mut problems = Vec::new();
        let forward = self.cluster.as_ref().map(|cluster| {
            let connector = cluster.connector(&pod.namespace, &pod.name, pod.port);
            ("port-forward", connector)
        });
        let through: Arc<dyn Connector> =
            Arc::new(ThroughManager { manager: self.manager.clone(), to: SocketAddr::new(pod.ip, pod.port) });
        for (way, connector) in forward.into_iter().chain([("through the manager", through)]) {
            match greet(way, connector).await {
                Ok(greeted) => return Ok(greeted),
                Err(problem) => {
                    tracing::debug!(pod = pod.name, way, problem, "the agent is not reached");
                    problems.push(format!("{way}: {problem}"));
                }
            }
        }
        Err(problems.join(", "))
    }
}

async fn greet(way: &'static str, connector: Arc<dyn Connector>) -> Result<Greeted, String> {
    let lost = Arc::new(Notify::new());
    let connector: Arc<dyn Connector> = Arc::new(Noticed { connector, lost: Arc::clone(&lost) });
    let connecting = channel(Arc::clone(&connector), Auth::default());
    let channel = match tokio::time::timeout(ANSWER_WITHIN, connecting).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => return Err(deepest(&error)),
        Err(_) => return Err("no connection within 5 s".to_owned()),
    };
    let tunnels = Tunnels::to_agent(channel.clone(), connector, STREAMS);
    let mut greeted = Greeted { client: agent(channel), tunnels, way, lost };
    greeted.version().await?;
    Ok(greeted)
}

impl Greeted {
    /// A word from the agent: it is there.
    pub(super) async fn version(&mut self) -> Result<(), String> {
        match tokio::time::timeout(ANSWER_WITHIN, self.client.version(())).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(deepest(&status)),
            Err(_) => Err("no answer within 5 s".to_owned()),
        }
    }
}

/// The manager dials the agent's pod, and gRPC to the agent runs inside that stream.
struct ThroughManager {
    manager: watch::Receiver<Option<flows::Exit>>,
    to: SocketAddr,
}

impl Connector for ThroughManager {
    fn connect(&self) -> Connecting {
        // as it is now: the session may be another than the last time
        let manager = self.manager.borrow().clone();
        let to = self.to;
        Box::pin(async move {
            let manager = manager.ok_or_else(|| io::Error::other("there is no connection to the manager"))?;
            let id = ConnId { source: nobody(), destination: ClusterAddr(to), proto: Proto::Tcp };
            let dial = Dial { id, session: manager.session, timeout: ANSWER_WITHIN, roundtrip: ROUNDTRIP };
            let (stream, slot) = manager.tunnels.open(dial).await.map_err(io::Error::other)?;
            Ok(Box::new(TunnelBytes::new(stream, slot)) as Box<dyn Io>)
        })
    }
}

/// No app stands behind this stream. Telepresence's manager tells streams apart by their addresses, those of different
/// clients too (facts/telepresence-wire.md §4.5), so they are random.
fn nobody() -> AppAddr {
    let mut random = [0; 5];
    SystemRandom::new().fill(&mut random).expect("the kernel has random bytes");
    let [a, b, c, high, low] = random;
    let port = u16::from_be_bytes([high, low]).max(1);
    AppAddr(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, a, b, c)), port))
}

/// Notices the end of each connection, whoever ends it.
struct Noticed {
    connector: Arc<dyn Connector>,
    lost: Arc<Notify>,
}

impl Connector for Noticed {
    fn connect(&self) -> Connecting {
        let (connecting, lost) = (self.connector.connect(), Arc::clone(&self.lost));
        Box::pin(async move {
            let io = connecting.await?;
            Ok(Box::new(NoticedIo { io, lost }) as Box<dyn Io>)
        })
    }
}

struct NoticedIo {
    io: Box<dyn Io>,
    lost: Arc<Notify>,
}

impl Drop for NoticedIo {
    fn drop(&mut self) {
        self.lost.notify_one();
    }
}

impl AsyncRead for NoticedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for NoticedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// tonic says "transport error"; the reason is at the end of the chain.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
