//! Byte for byte: what a client without our extensions sends and sees (facts/telepresence-wire.md, appendix A), and what
//! a client gets that sends nonsense.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;
use tp_core::tunnel::{Frame, StreamInfo};

use super::site::{Site, closed_port, target};

#[tokio::test]
async fn the_target_says_hello_and_closes() {
    let site = Site::new().await;
    let (listener, address) = target().await;
    let mut raw = site.plain(address).await;
    let (mut socket, _) = listener.accept().await.unwrap();
    socket.write_all(b"hello").await.unwrap();
    drop(socket);
    raw.expect(&["0202", "04", "0068656c6c6f", "03"]).await;
    raw.half_close();
    raw.expect_end().await;
}

#[tokio::test]
async fn nobody_listens() {
    let site = Site::new().await;
    let mut raw = site.plain(closed_port().await).await;
    raw.expect(&["0202", "05", "03"]).await;
    raw.expect_end().await;
}

/// A Telepresence client's half-close closes its whole connection, but what is on its way back still arrives.
#[tokio::test]
async fn the_client_closes_first() {
    let site = Site::new().await;
    let (listener, address) = target().await;
    let mut raw = site.plain(address).await;
    raw.send(Frame::Normal(Bytes::from_static(b"req"))).await;
    raw.half_close();
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut request = String::new();
    socket.read_to_string(&mut request).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    drop(socket);
    raw.expect(&["0202", "04", "00726571", "03"]).await;
    raw.expect_end().await;
}

#[tokio::test]
async fn the_target_resets() {
    let site = Site::new().await;
    let (listener, address) = target().await;
    let mut raw = site.plain(address).await;
    let (socket, _) = listener.accept().await.unwrap();
    raw.expect(&["0202", "04"]).await;
    socket2::SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(socket);
    // the nearest that Telepresence's wire has: a hard stop
    raw.expect(&["06"]).await;
}

#[tokio::test]
async fn the_client_stops_hard() {
    let site = Site::new().await;
    let (listener, address) = target().await;
    let mut raw = site.plain(address).await;
    let (mut socket, _) = listener.accept().await.unwrap();
    raw.expect(&["0202", "04"]).await;
    raw.send(Frame::Disconnect).await;
    raw.half_close();
    let error = socket.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    raw.expect_end().await;
}

/// The handshake completes before the session is looked at.
#[tokio::test]
async fn a_session_that_is_not_known() {
    let site = Site::new().await;
    let mut raw = site.raw().await;
    let info = site.info(closed_port().await);
    raw.send(Frame::StreamInfo(StreamInfo { session: "nobody".into(), ..info })).await;
    raw.expect(&["0202"]).await;
    assert_eq!(raw.status().await.code(), Code::NotFound);
}

#[tokio::test]
async fn nonsense_first() {
    let site = Site::new().await;
    for (payload, code) in [
        (&b""[..], Code::InvalidArgument),
        (&[1, 2, 0, 0, 3, 1, 2, 3, 0], Code::InvalidArgument), // a ConnID of 3 bytes
        (&[1, 0xff], Code::InvalidArgument),
        (&[4], Code::FailedPrecondition), // DialOK
        (&[200, 1, 2], Code::FailedPrecondition),
    ] {
        let mut raw = site.raw().await;
        raw.send_payload(Bytes::copy_from_slice(payload)).await;
        assert_eq!(raw.status().await.code(), code, "{payload:?}");
    }
    let mut silent = site.raw().await;
    silent.half_close();
    assert_eq!(silent.status().await.code(), Code::FailedPrecondition);
    assert!(site.is_alive().await);
}

#[tokio::test]
async fn nonsense_later_ends_the_flow_only() {
    let site = Site::new().await;
    let (listener, address) = target().await;
    let mut raw = site.plain(address).await;
    let (mut socket, _) = listener.accept().await.unwrap();
    raw.expect(&["0202", "04"]).await;
    raw.send_payload(Bytes::new()).await;
    assert!(socket.read(&mut [0; 8]).await.is_err());
    assert!(site.is_alive().await);
}

#[tokio::test]
async fn a_message_beyond_the_limit() {
    let site = Site::with("--max-message 64Ki").await;
    let (listener, address) = target().await;
    let mut raw = site.plain(address).await;
    let (mut socket, _) = listener.accept().await.unwrap();
    raw.expect(&["0202", "04"]).await;
    raw.send(Frame::Normal(vec![7; 100 << 10].into())).await;
    assert!(socket.read(&mut [0; 8]).await.is_err());
    assert!(site.is_alive().await);
}

/// Any messages at all: the manager answers, or ends this call, and goes on serving.
#[test]
fn any_bytes() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let site = runtime.block_on(Site::new());
    let closed = runtime.block_on(closed_port());
    let info = Frame::StreamInfo(site.info(closed)).encode();
    let messages = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..4);
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    runner
        .run(&(messages, any::<bool>(), 0usize..40), |(messages, handshake, cut)| {
            runtime.block_on(async {
                let mut raw = site.raw().await;
                if handshake {
                    // whole, or cut somewhere
                    let end = if cut < 20 { info.len() } else { cut.min(info.len()) };
                    raw.send_payload(info.slice(..end)).await;
                }
                for message in messages {
                    raw.send_payload(message.into()).await;
                }
                raw.half_close();
                while raw.next().await.is_ok() {}
            });
            Ok(())
        })
        .unwrap();
    assert!(runtime.block_on(site.is_alive()));
}
