//! A manager in this process, and a client of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tp_cluster::args::{Cli, Command};
use tp_cluster::log::LevelHandle;
use tp_cluster::manager::{self, Running};
use tp_core::addr::{AppAddr, ClusterAddr};
use tp_core::flow::Proto;
use tp_core::tunnel::{ConnId, Features, Frame, StreamInfo};
use tp_proto::client::{
    self, Auth, Channel, Connecting, Connector, Dial, Io, ManagerClient, OpenError, Tunnels,
};
use tp_proto::manager::{ClientInfo, SessionInfo, TunnelMessage};
use tp_proto::stream::TunnelStream;

/// Long enough for a busy machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Site {
    pub(crate) running: Running,
    pub(crate) client: ManagerClient,
    pub(crate) session: SessionInfo,
    tunnels: Tunnels,
}

pub(crate) struct Tcp(pub(crate) SocketAddr);

impl Connector for Tcp {
    fn connect(&self) -> Connecting {
        let to = self.0;
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

/// Starts a manager for loopback destinations.
pub(crate) async fn manager(flags: &str) -> Running {
    let line = format!(
        "tp-traffic manager --standalone --listen 127.0.0.1:0 --subnet 127.0.0.0/8 --subnet ::1/128 {flags}"
    );
    let Command::Manager(args) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else {
        panic!()
    };
    manager::start(&args, LevelHandle::inert()).await.unwrap()
}

pub(crate) async fn channel(address: SocketAddr, auth: Auth) -> Channel {
    client::channel(Arc::new(Tcp(address)), auth).await.unwrap()
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// With one client that has arrived, in namespace `default`.
    pub(crate) async fn with(flags: &str) -> Self {
        let running = manager(&format!("--insecure-plaintext {flags}")).await;
        let channel = channel(running.address, Auth::default()).await;
        let mut client = client::manager(channel.clone());
        let session = client.arrive_as_client(somebody()).await.unwrap().into_inner();
        let tunnels = Tunnels::new(channel, Arc::new(Tcp(running.address)), Auth::default(), usize::MAX);
        Self { running, client, session, tunnels }
    }

    /// A tunnel stream as the daemon opens it.
    pub(crate) async fn open(&self, proto: Proto, to: SocketAddr) -> Result<TunnelStream, OpenError> {
        self.open_within(proto, to, PATIENCE).await
    }

    pub(crate) async fn open_within(
        &self,
        proto: Proto,
        to: SocketAddr,
        timeout: Duration,
    ) -> Result<TunnelStream, OpenError> {
        let session = self.session.session_id.clone();
        let dial = Dial { id: conn_id(proto, to), session, timeout, roundtrip: PATIENCE };
        self.tunnels.open(dial).await.map(|(stream, _slot)| stream)
    }

    /// A tunnel stream whose payloads the test writes and reads itself.
    pub(crate) async fn raw(&self) -> Raw {
        let (tx, request) = mpsc::channel(16);
        let mut client = self.client.clone();
        let rx = client.tunnel(ReceiverStream::new(request)).await.unwrap().into_inner();
        Raw { tx: Some(tx), rx }
    }

    /// A raw stream of a client without our extensions, as far as StreamInfo.
    pub(crate) async fn plain(&self, to: SocketAddr) -> Raw {
        let raw = self.raw().await;
        raw.send(Frame::StreamInfo(self.info(to))).await;
        raw
    }

    pub(crate) fn info(&self, to: SocketAddr) -> StreamInfo {
        StreamInfo {
            id: conn_id(Proto::Tcp, to),
            session: self.session.session_id.clone(),
            roundtrip_latency: Duration::from_secs(2),
            dial_timeout: PATIENCE,
            features: Features::NONE,
        }
    }

    /// Whether it still serves.
    pub(crate) async fn is_alive(&self) -> bool {
        self.client.clone().version(()).await.is_ok()
    }
}

pub(crate) struct Raw {
    tx: Option<mpsc::Sender<TunnelMessage>>,
    rx: Streaming<TunnelMessage>,
}

impl Raw {
    pub(crate) async fn send(&self, frame: Frame) {
        self.send_payload(frame.encode()).await;
    }

    pub(crate) async fn send_payload(&self, payload: Bytes) {
        // a manager that has refused already does not take it
        let _ = self.tx.as_ref().unwrap().send(TunnelMessage { payload }).await;
    }

    /// Next payload in hex, or how the call ended.
    pub(crate) async fn next(&mut self) -> Result<String, Option<Status>> {
        let message = tokio::time::timeout(PATIENCE, self.rx.message()).await.expect("an answer in time");
        match message {
            Ok(Some(TunnelMessage { payload })) => {
                Ok(payload.iter().map(|byte| format!("{byte:02x}")).collect())
            }
            Ok(None) => Err(None),
            Err(status) => Err(Some(status)),
        }
    }

    pub(crate) async fn expect(&mut self, payloads: &[&str]) {
        for payload in payloads {
            assert_eq!(self.next().await.as_deref().unwrap(), *payload);
        }
    }

    pub(crate) async fn expect_end(&mut self) {
        assert!(matches!(self.next().await, Err(None)));
    }

    pub(crate) async fn status(&mut self) -> Status {
        self.next().await.unwrap_err().expect("a status")
    }

    pub(crate) fn half_close(&mut self) {
        self.tx = None;
    }
}

pub(crate) fn somebody() -> ClientInfo {
    ClientInfo {
        name: "me@laptop".into(),
        install_id: "11111111-2222-3333-4444-555555555555".into(),
        product: "tp".into(),
        version: "v0.1.0".into(),
        namespace: "default".into(),
    }
}

pub(crate) fn conn_id(proto: Proto, to: SocketAddr) -> ConnId {
    ConnId { source: AppAddr("10.1.2.3:45678".parse().unwrap()), destination: ClusterAddr(to), proto }
}

/// A target on loopback, and its address.
pub(crate) async fn target() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address where nobody listens.
pub(crate) async fn closed_port() -> SocketAddr {
    target().await.1
}
