//! Two relays back to back over a real gRPC connection, with real sockets at both ends: app <-> relay <-> gRPC <->
//! relay <-> target. What one socket does, the other must see.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tp_core::addr::{AppAddr, ClusterAddr};
use tp_core::flow::Proto;
use tp_core::tunnel::{ConnId, Features, Frame};
use tp_proto::client::{Auth, Connecting, Connector, Dial, Io, Tunnels, channel};
use tp_proto::http2::{Answer, ReceivedBody, serve};
use tp_proto::relay::{Ending, Report, relay, tcp_halves};
use tp_proto::stream::{FrameReceiver, FrameSender, TunnelBytes, TunnelStream};

/// A far end that offers `features` and relays every stream to its destination.
#[derive(Clone)]
struct FarEnd {
    features: Features,
    reports: tokio::sync::mpsc::Sender<Report>,
}

impl Answer for FarEnd {
    fn is_tunnel(&self, head: &Parts) -> bool {
        head.uri.path() == tp_proto::AGENT_TUNNEL
    }

    async fn tunnel(&self, rx: FrameReceiver, tx: FrameSender) {
        let (info, mut tunnel) = TunnelStream::answer(rx, tx, self.features).await.ok().unwrap();
        let target = TcpStream::connect(info.id.destination.0).await.unwrap();
        tunnel.tx.send(Frame::DialOk).await.unwrap();
        let (reader, writer) = tcp_halves(target).unwrap();
        let _ = self.reports.send(relay(reader, writer, tunnel).await).await;
    }

    async fn call(&self, _: http::Request<ReceivedBody>) -> http::Response<Body> {
        Status::unimplemented("not needed here").into_http()
    }
}

struct Tcp(std::net::SocketAddr);

impl Connector for Tcp {
    fn connect(&self) -> Connecting {
        let to = self.0;
        Box::pin(async move { Ok(Box::new(TcpStream::connect(to).await?) as Box<dyn Io>) })
    }
}

/// The app's and the target's socket, joined by two relays; how each relay ended comes out of the channels.
struct Joined {
    app: TcpStream,
    target: TcpStream,
    near: tokio::task::JoinHandle<Report>,
    far: tokio::sync::mpsc::Receiver<Report>,
}

async fn join(far_features: Features) -> Joined {
    let apps = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = TcpStream::connect(apps.local_addr().unwrap()).await.unwrap();
    let (near_socket, _) = apps.accept().await.unwrap();
    let (tunnel, target, far) = open(far_features, app.local_addr().unwrap()).await;
    let (reader, writer) = tcp_halves(near_socket).unwrap();
    Joined { app, target, near: tokio::spawn(relay(reader, writer, tunnel)), far }
}

/// A tunnel stream that has been dialled, and the target's socket.
async fn open(
    far_features: Features,
    source: std::net::SocketAddr,
) -> (TunnelStream, TcpStream, tokio::sync::mpsc::Receiver<Report>) {
    let (reports, far) = tokio::sync::mpsc::channel(1);
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server_addr = server.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = server.accept().await.unwrap();
        let far_end = FarEnd { features: far_features, reports };
        serve(stream, &far_end, CancellationToken::new()).await
    });
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connector: Arc<dyn Connector> = Arc::new(Tcp(server_addr));
    let first = channel(Arc::clone(&connector), Auth::default()).await.unwrap();
    let tunnels = Tunnels::to_agent(first, connector, 10);
    let id = ConnId {
        source: AppAddr(source),
        destination: ClusterAddr(service.local_addr().unwrap()),
        proto: Proto::Tcp,
    };
    let dial = Dial {
        id,
        session: "test".into(),
        timeout: Duration::from_secs(3),
        roundtrip: Duration::from_secs(2),
    };
    let (tunnel, _slot) = tunnels.open(dial).await.unwrap();
    assert_eq!(tunnel.features, far_features.and(Features::OURS));
    let (target, _) = service.accept().await.unwrap();
    (tunnel, target, far)
}

async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    all
}

#[tokio::test]
async fn an_answer_follows_the_end_of_the_question() {
    let mut joined = join(Features::OURS).await;
    joined.app.write_all(b"question").await.unwrap();
    joined.app.shutdown().await.unwrap();
    assert_eq!(read_all(&mut joined.target).await, b"question");
    let answer = vec![7; 3_000_000];
    joined.target.write_all(&answer).await.unwrap();
    joined.target.shutdown().await.unwrap();
    assert!(read_all(&mut joined.app).await == answer);
    let near = joined.near.await.unwrap();
    assert_eq!((near.ending, near.to_tunnel, near.to_socket), (Ending::Closed, 8, 3_000_000));
    assert_eq!(joined.far.recv().await.unwrap().ending, Ending::Closed);
}

#[tokio::test]
async fn the_target_may_end_first() {
    let mut joined = join(Features::OURS).await;
    joined.target.shutdown().await.unwrap();
    assert_eq!(read_all(&mut joined.app).await, b"");
    joined.app.write_all(b"still here").await.unwrap();
    joined.app.shutdown().await.unwrap();
    assert_eq!(read_all(&mut joined.target).await, b"still here");
    assert_eq!(joined.near.await.unwrap().ending, Ending::Closed);
}

/// Closes with a reset.
fn abort(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[tokio::test]
async fn a_reset_of_the_app_resets_the_target() {
    let mut joined = join(Features::OURS).await;
    abort(joined.app);
    let error = joined.target.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(joined.near.await.unwrap().ending, Ending::SocketReset);
    assert_eq!(joined.far.recv().await.unwrap().ending, Ending::TunnelReset);
}

#[tokio::test]
async fn a_reset_of_the_target_resets_the_app_even_after_its_end_of_data() {
    let mut joined = join(Features::OURS).await;
    joined.target.shutdown().await.unwrap();
    assert_eq!(read_all(&mut joined.app).await, b"");
    abort(joined.target);
    assert_eq!(joined.near.await.unwrap().ending, Ending::TunnelReset);
    // the reset arrived after FIN: the kernel reports it on the next use
    let error = joined.app.write_all(b"x").await.err().or(joined.app.read_u8().await.err());
    assert!(error.is_some());
}

/// Towards a peer that knows no half-close, the answer is still complete (Telepresence loses all of it, facts §4.6).
#[tokio::test]
async fn a_plain_peer_does_not_cost_the_answer() {
    let mut joined = join(Features::NONE).await;
    joined.app.write_all(b"question").await.unwrap();
    joined.app.shutdown().await.unwrap();
    let mut question = [0; 8];
    joined.target.read_exact(&mut question).await.unwrap();
    let answer = vec![7; 1_000_000];
    joined.target.write_all(&answer).await.unwrap();
    drop(joined.target);
    assert!(read_all(&mut joined.app).await == answer);
    assert_eq!(joined.near.await.unwrap().ending, Ending::Closed);
}

/// A far end that closes without the extension has closed altogether: what the app sends then is answered by a reset.
#[tokio::test]
async fn writing_to_a_plain_peer_that_closed_is_a_reset() {
    let mut joined = join(Features::NONE).await;
    drop(joined.target);
    assert_eq!(read_all(&mut joined.app).await, b"");
    joined.app.write_all(b"too late").await.unwrap();
    assert_eq!(joined.near.await.unwrap().ending, Ending::TunnelReset);
}

/// A target that does not read stops the app after a bounded amount; nothing is lost once it reads.
#[tokio::test]
async fn a_slow_reader_stops_the_writer_and_loses_nothing() {
    let mut joined = join(Features::OURS).await;
    let sent = fill(&mut joined.app).await;
    joined.app.shutdown().await.unwrap();
    assert_eq!(read_all(&mut joined.target).await.len(), sent);
}

/// The way is full, so that no frame can say it.
#[tokio::test]
async fn a_reset_reaches_a_socket_that_does_not_read() {
    let mut joined = join(Features::OURS).await;
    fill(&mut joined.app).await;
    abort(joined.app);
    assert_eq!(soon(joined.near).await.unwrap().ending, Ending::SocketReset);
    assert_eq!(soon(joined.far.recv()).await.unwrap().ending, Ending::TunnelReset);
    assert_eq!(joined.target.write_all(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_reaches_an_app_that_does_not_read() {
    let mut joined = join(Features::OURS).await;
    fill(&mut joined.target).await;
    abort(joined.target);
    assert_eq!(soon(joined.far.recv()).await.unwrap().ending, Ending::SocketReset);
    assert_eq!(soon(joined.near).await.unwrap().ending, Ending::TunnelReset);
    assert_eq!(joined.app.write_all(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// Fails where nothing would ever come.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.unwrap()
}

/// Writes until nothing moves any more; how much.
async fn fill(socket: &mut TcpStream) -> usize {
    const PIECE: usize = 1 << 20;
    let piece = vec![1u8; PIECE];
    let mut sent = 0;
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(500), socket.write(&piece)).await {
        sent += written.unwrap();
        assert!(sent < 256 * PIECE, "no backpressure");
    }
    sent
}

/// Both ways at once, more than all buffers hold, in pieces that no frame boundary knows of.
#[tokio::test]
async fn a_stream_is_a_byte_stream() {
    for features in [Features::OURS, Features::NONE] {
        let (tunnel, target, _far) = open(features, "127.0.0.1:1".parse().unwrap()).await;
        let (mut target_read, mut target_write) = target.into_split();
        let echo = tokio::spawn(async move { tokio::io::copy(&mut target_read, &mut target_write).await });
        let (mut read, mut write) = tokio::io::split(TunnelBytes::new(tunnel, ()));
        let sent: Vec<u8> =
            (0..8_000_001u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            for piece in sent.chunks(100_003) {
                write.write_all(piece).await.unwrap();
            }
            write.flush().await.unwrap();
            write
        });
        let mut received = vec![0; expected.len()];
        read.read_exact(&mut received).await.unwrap();
        assert!(received == expected, "{features:?}");
        writing.await.unwrap().shutdown().await.unwrap();
        assert_eq!(echo.await.unwrap().unwrap(), expected.len() as u64);
        assert_eq!(read.read(&mut received).await.unwrap(), 0, "{features:?}");
    }
}

/// The end of the data is not taken for an error, a reset is not taken for the end of the data.
#[tokio::test]
async fn a_byte_stream_knows_end_from_reset() {
    let source = "127.0.0.1:1".parse().unwrap();
    let (tunnel, mut target, _far) = open(Features::OURS, source).await;
    let mut stream = TunnelBytes::new(tunnel, ());
    target.write_all(b"last words").await.unwrap();
    target.shutdown().await.unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"last words");

    let (tunnel, target, _far) = open(Features::OURS, source).await;
    let mut stream = TunnelBytes::new(tunnel, ());
    abort(target);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}
