//! What the daemon sees: honest dials, and flows that end as their sockets do.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tp_core::dial::DialError;
use tp_core::flow::Proto;
use tp_core::tunnel::{Features, Frame};
use tp_proto::client::OpenError;
use tp_proto::stream::TunnelStream;

use super::site::{PATIENCE, Site, closed_port, target};

async fn next(stream: &mut TunnelStream) -> Frame {
    let frame = tokio::time::timeout(PATIENCE, stream.rx.recv()).await.expect("a frame in time");
    frame.unwrap().expect("a frame")
}

/// The next `len` bytes, however they are split.
async fn data(stream: &mut TunnelStream, len: usize) -> Vec<u8> {
    let mut data = Vec::new();
    while data.len() < len {
        match next(stream).await {
            Frame::Normal(more) => data.extend_from_slice(&more),
            other => panic!("{other:?} after {} bytes", data.len()),
        }
    }
    data
}

async fn connected(site: &Site) -> (TunnelStream, TcpStream) {
    let (listener, address) = target().await;
    let stream = site.open(Proto::Tcp, address).await.unwrap();
    assert_eq!(stream.features, Features::OURS);
    (stream, listener.accept().await.unwrap().0)
}

fn cause(result: Result<TunnelStream, OpenError>) -> DialError {
    match result {
        Err(OpenError::Dial(cause)) => cause,
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[tokio::test]
async fn the_cause_of_a_failed_dial_arrives() {
    let site = Site::new().await;
    assert_eq!(cause(site.open(Proto::Tcp, closed_port().await).await), DialError::Refused);
    for denied in ["10.0.0.1:80", "[fd00::1]:80", "0.0.0.0:80"] {
        assert_eq!(cause(site.open(Proto::Tcp, denied.parse().unwrap()).await), DialError::Denied);
    }
}

/// A listener whose queue is full answers nobody, as an address does that swallows packets.
#[tokio::test]
async fn a_dial_ends_at_its_timeout() {
    let site = Site::new().await;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
    {
        queue.push(stream);
    }
    let result = site.open_within(Proto::Tcp, address, Duration::from_millis(100)).await;
    assert_eq!(cause(result), DialError::TimedOut);
}

#[tokio::test]
async fn a_session_that_has_departed_opens_nothing_and_keeps_nothing() {
    let mut site = Site::new().await;
    let (mut stream, mut socket) = connected(&site).await;
    site.client.depart(site.session.clone()).await.unwrap();
    // the flow ended with its session
    while let Ok(Some(_)) = stream.rx.recv().await {}
    let end = socket.read(&mut [0; 8]).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    let result = site.open(Proto::Tcp, closed_port().await).await;
    assert!(matches!(result, Err(OpenError::SessionLost)));
}

#[tokio::test]
async fn flows_are_bounded_per_session() {
    let site = Site::with("--max-flows 1").await;
    let (stream, socket) = connected(&site).await;
    let (_listener, address) = target().await;
    assert_eq!(cause(site.open(Proto::Tcp, address).await), DialError::Other);
    drop((stream, socket));
    // the place is free again as soon as the manager has noticed
    while site.open(Proto::Tcp, address).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_app_has_no_more_data_but_still_reads() {
    let site = Site::new().await;
    let (mut stream, mut socket) = connected(&site).await;
    stream.tx.send(Frame::Normal(Bytes::from_static(b"question"))).await.unwrap();
    stream.tx.send(Frame::HalfClose).await.unwrap();
    let mut question = String::new();
    socket.read_to_string(&mut question).await.unwrap();
    assert_eq!(question, "question");
    socket.write_all(b"answer").await.unwrap();
    assert_eq!(data(&mut stream, 6).await, b"answer");
    drop(socket);
    assert_eq!(next(&mut stream).await, Frame::HalfClose);
    assert!(matches!(stream.rx.recv().await, Ok(None)));
}

#[tokio::test]
async fn the_target_has_no_more_data_but_still_reads() {
    let site = Site::new().await;
    let (mut stream, mut socket) = connected(&site).await;
    socket.write_all(b"greeting").await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(data(&mut stream, 8).await, b"greeting");
    assert_eq!(next(&mut stream).await, Frame::HalfClose);
    stream.tx.send(Frame::Normal(Bytes::from_static(b"upload"))).await.unwrap();
    stream.tx.send(Frame::HalfClose).await.unwrap();
    let mut upload = String::new();
    socket.read_to_string(&mut upload).await.unwrap();
    assert_eq!(upload, "upload");
}

#[tokio::test]
async fn resets_travel_both_ways() {
    let site = Site::new().await;
    let (mut stream, socket) = connected(&site).await;
    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
    assert_eq!(next(&mut stream).await, Frame::Reset);

    let (mut stream, mut socket) = connected(&site).await;
    stream.tx.send(Frame::Reset).await.unwrap();
    assert_eq!(socket.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// A daemon that dies says nothing more: its flows must not look as if they had ended regularly.
#[tokio::test]
async fn a_client_that_vanishes_resets_its_flows() {
    let site = Site::new().await;
    let (stream, mut socket) = connected(&site).await;
    drop(stream);
    assert_eq!(socket.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn datagrams_of_every_size() {
    let site = Site::new().await;
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let echo = UdpSocket::bind(bind).await.unwrap();
        let mut stream = site.open(Proto::Udp, echo.local_addr().unwrap()).await.unwrap();
        let mut buffer = vec![0; 65_536];
        for size in [1, 0, 1400, 65_507, 2] {
            stream.tx.send(Frame::Normal(vec![7; size].into())).await.unwrap();
            let (len, from) = echo.recv_from(&mut buffer).await.unwrap();
            assert_eq!(len, size);
            echo.send_to(&buffer[..len], from).await.unwrap();
            assert_eq!(next(&mut stream).await, Frame::Normal(vec![7; size].into()));
        }
    }
}

#[tokio::test]
async fn a_datagram_that_nobody_takes_comes_back_as_such() {
    let site = Site::new().await;
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = echo.local_addr().unwrap();
    drop(echo);
    let mut stream = site.open(Proto::Udp, address).await.unwrap();
    stream.tx.send(Frame::Normal(Bytes::from_static(b"anyone?"))).await.unwrap();
    assert!(matches!(next(&mut stream).await, Frame::DialError(DialError::Refused, _)));
    // the association goes on: its target may start later
    let echo = UdpSocket::bind(address).await.unwrap();
    stream.tx.send(Frame::Normal(Bytes::from_static(b"now?"))).await.unwrap();
    let mut buffer = [0; 16];
    let (len, _) = echo.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..len], b"now?");
}
