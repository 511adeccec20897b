//! Agents that come, fail and return, reached through a manager that dials: all three in this process.

use std::net::SocketAddr;

use http::request::Parts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Request, Response, Status, Streaming};
use tower::ServiceExt;
use tp_core::addr::{AppAddr, ClusterAddr};
use tp_core::flow::Proto;
use tp_core::tunnel::{ConnId, Features, Frame};
use tp_proto::agent::agent_server::{Agent, AgentServer};
use tp_proto::client::{Auth, Connecting, Connector, Dial, Io, channel};
use tp_proto::http2::{Answer, ReceivedBody, serve};
use tp_proto::manager::{DialRequest, SessionInfo, TunnelMessage, VersionInfo2};
use tp_proto::relay::{relay, tcp_halves};
use tp_proto::stream::{FrameReceiver, FrameSender, TunnelBytes, TunnelStream};

use super::keep::{self, State};
use super::pods::{Known, Pod};
use super::reach::Reach;
use super::*;

/// A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Dials whatever it is asked to. To the tunnel it is all the same whether a manager or an agent answers.
#[derive(Clone)]
struct Dialler;

#[tonic::async_trait]
impl Agent for Dialler {
    async fn version(&self, _: Request<()>) -> Result<Response<VersionInfo2>, Status> {
        Ok(Response::new(VersionInfo2::default()))
    }

    type TunnelStream = ReceiverStream<Result<TunnelMessage, Status>>;

    async fn tunnel(
        &self,
        _: Request<Streaming<TunnelMessage>>,
    ) -> Result<Response<Self::TunnelStream>, Status> {
        Err(Status::internal("a tunnel came to the wrong place"))
    }

    type WatchDialStream = ReceiverStream<Result<DialRequest, Status>>;

    async fn watch_dial(&self, _: Request<SessionInfo>) -> Result<Response<Self::WatchDialStream>, Status> {
        Err(Status::unimplemented("not needed here"))
    }
}

impl Answer for Dialler {
    fn is_tunnel(&self, head: &Parts) -> bool {
        head.uri.path() == tp_proto::AGENT_TUNNEL
    }

    async fn tunnel(&self, rx: FrameReceiver, tx: FrameSender) {
        let Ok((info, mut tunnel)) = TunnelStream::answer(rx, tx, Features::OURS).await else { return };
        let Ok(target) = TcpStream::connect(info.id.destination.0).await else {
            let _ = tunnel.tx.send(Frame::DialReject).await;
            return;
        };
        let _ = tunnel.tx.send(Frame::DialOk).await;
        let (reader, writer) = tcp_halves(target).unwrap();
        relay(reader, writer, tunnel).await;
    }

    async fn call(&self, request: http::Request<ReceivedBody>) -> http::Response<Body> {
        let Ok(response) = AgentServer::new(Self).oneshot(request).await;
        response
    }
}

/// A server with a runtime of its own, so that its end is the end of its connections too.
struct Server {
    runtime: Option<Runtime>,
    address: SocketAddr,
}

impl Server {
    async fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let served = runtime.spawn(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(async move {
                        let _ = serve(stream, &Dialler, CancellationToken::new()).await;
                    });
                }
            });
            address
        });
        let address = served.await.unwrap();
        Self { runtime: Some(runtime), address }
    }

    fn pod(&self, name: &str) -> Pod {
        Pod {
            workload: "echo".into(),
            name: name.into(),
            namespace: "default".into(),
            ip: self.address.ip(),
            port: self.address.port(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Tcp(SocketAddr);

impl Connector for Tcp {
    fn connect(&self) -> Connecting {
        let to = self.0;
        Box::pin(async move { Ok(Box::new(TcpStream::connect(to).await?) as Box<dyn Io>) })
    }
}

/// Exits with the one workload `echo`, whose agents the test tells.
struct Site {
    exits: Exits,
    pods: watch::Sender<Known>,
    session: watch::Sender<Option<flows::Exit>>,
    _manager: Server,
}

impl Site {
    async fn new() -> Self {
        let server = Server::new().await;
        let connector: Arc<dyn Connector> = Arc::new(Tcp(server.address));
        let first = channel(Arc::clone(&connector), Auth::default()).await.unwrap();
        let tunnels = Tunnels::to_agent(first, connector, 100);
        let way = flows::Exit { tunnels, session: "one".into() };
        let (session, manager) = watch::channel(Some(way));
        let (pods, known) = watch::channel(Known::NotYet);
        let (sender, state) = watch::channel(State::Switching);
        let stop = CancellationToken::new();
        let reach = Arc::new(Reach::new(None, manager.clone()));
        spawn(&stop, keep::keep("echo".into(), reach, known, sender));
        let workloads = HashMap::from([("echo".to_owned(), Workload { state, refused: AtomicU64::new(0) })]);
        let exits = Exits(Arc::new(Inner { manager, workloads, _stop: stop.drop_guard() }));
        Self { exits, pods, session, _manager: server }
    }

    fn tell(&self, pods: &[Pod]) {
        self.pods.send_replace(Known::Pods(pods.to_vec()));
    }

    fn tunnels(&self) -> Result<Tunnels, NoExit> {
        self.exits.tunnels(&Exit::Workload("echo".into()))
    }

    /// Waits until the exit is there, or is not.
    async fn becomes(&self, usable: bool) -> Result<Tunnels, NoExit> {
        let mut state = self.exits.0.workloads["echo"].state.clone();
        let wanted = |state: &State| match state {
            State::Ready(_) => usable,
            State::Away(_) => !usable,
            State::Switching => false,
        };
        tokio::time::timeout(PATIENCE, state.wait_for(wanted)).await.expect("in time").unwrap();
        self.tunnels()
    }

    /// A line goes to a server behind the exit, and comes back.
    async fn works(&self) {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = target.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = target.accept().await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await
        });
        let id = ConnId {
            source: AppAddr("10.0.0.1:1".parse().unwrap()),
            destination: ClusterAddr(to),
            proto: Proto::Tcp,
        };
        let dial = Dial { id, session: "one".into(), timeout: PATIENCE, roundtrip: PATIENCE };
        let (stream, slot) = self.tunnels().unwrap().open(dial).await.unwrap();
        let mut stream = TunnelBytes::new(stream, slot);
        stream.write_all(b"hello").await.unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hello");
    }
}

#[tokio::test]
async fn an_agent_dies_and_another_comes() {
    let site = Site::new().await;
    assert!(matches!(site.tunnels(), Err(NoExit::Switching(_))));
    let agent = Server::new().await;
    site.tell(&[agent.pod("echo-1")]);
    site.becomes(true).await.unwrap();
    site.works().await;
    // the manager goes on telling of it for a while
    drop(agent);
    let lost = site.becomes(false).await.unwrap_err();
    assert!(matches!(lost, NoExit::NoAgent { .. }), "{lost}");
    assert_eq!(lost.for_app(), DialError::HostUnreachable);
    assert!(site.exits.notes()[0].starts_with("workload echo has no usable agent: echo-1: "));
    assert_eq!(site.exits.status()[0].refused, 1);
    let agent = Server::new().await;
    site.tell(&[agent.pod("echo-2")]);
    site.becomes(true).await.unwrap();
    site.works().await;
    assert!(site.exits.notes().is_empty());
    assert_eq!(site.exits.status()[0].agent.as_deref(), Some("echo-2 (through the manager)"));
}

#[tokio::test]
async fn one_that_does_not_answer_is_passed_over() {
    let site = Site::new().await;
    let (gone, agent) = (Server::new().await, Server::new().await);
    let pods = [gone.pod("echo-1"), agent.pod("echo-2")];
    drop(gone);
    site.tell(&pods);
    site.becomes(true).await.unwrap();
    assert_eq!(site.exits.status()[0].agent.as_deref(), Some("echo-2 (through the manager)"));
}

/// A manager tells of pods that are gone for a while: nobody says so at their addresses.
#[tokio::test]
async fn those_that_are_silent_hold_nobody_up() {
    let site = Site::new().await;
    let agent = Server::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = |name: &str| {
        let at = silent.local_addr().unwrap();
        Pod { ip: at.ip(), port: at.port(), ..agent.pod(name) }
    };
    site.tell(&[gone("echo-1"), gone("echo-2"), gone("echo-3"), agent.pod("echo-4")]);
    let state = site.exits.0.workloads["echo"].state.clone();
    // as `tp connect` waits for it
    keep::ready("echo", "default", state, Instant::now() + READY_WITHIN).await.unwrap();
    assert_eq!(site.exits.status()[0].agent.as_deref(), Some("echo-4 (through the manager)"));
}

#[tokio::test]
async fn no_agent_and_another_workloads_agent_are_the_same() {
    let site = Site::new().await;
    let agent = Server::new().await;
    site.tell(&[Pod { workload: "other".into(), ..agent.pod("other-1") }]);
    let none = site.becomes(false).await.unwrap_err();
    assert_eq!(none.to_string(), "workload echo has no usable agent: the manager knows of none");
    site.pods.send_replace(Known::Nothing("this manager does not tell".into()));
    tokio::time::timeout(PATIENCE, async {
        while !site.exits.notes()[0].contains("does not tell") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

/// A manager that was restarted knows no agents for a moment; the one in use is there nevertheless.
#[tokio::test]
async fn an_agent_that_answers_is_kept_though_nobody_tells_of_it() {
    let site = Site::new().await;
    let (agent, other) = (Server::new().await, Server::new().await);
    site.tell(&[agent.pod("echo-1")]);
    site.becomes(true).await.unwrap();
    site.tell(&[]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    site.works().await;
    // but one that is told of is better
    site.tell(&[other.pod("echo-2")]);
    tokio::time::timeout(PATIENCE, async {
        while site.exits.status()[0].agent.as_deref() != Some("echo-2 (through the manager)") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    site.works().await;
}

#[tokio::test]
async fn the_manager_is_an_exit_while_there_is_a_session() {
    let site = Site::new().await;
    assert!(site.exits.tunnels(&Exit::Manager).is_ok());
    site.session.send_replace(None);
    let away = site.exits.tunnels(&Exit::Manager).unwrap_err();
    assert_eq!((&away, away.for_app()), (&NoExit::ManagerAway, DialError::TimedOut));
    let unknown = site.exits.tunnels(&Exit::Workload("other".into())).unwrap_err();
    assert_eq!(unknown.to_string(), "workload other is no exit of this connection");
}
