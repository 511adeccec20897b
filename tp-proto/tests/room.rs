//! A server whose app does not read waits, as it would without us, and what a connection that stands still holds is bounded in sum. The client is HTTP/2 alone and says what room there is.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

#[path = "support/open.rs"]
mod open;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::select;
use h2::client::SendRequest;
use http::request::Parts;
use open::open;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tp_core::tunnel::{Features, Frame, MAX_DATA};
use tp_proto::http2::{Answer, Piece, ReceivedBody, serve};
use tp_proto::relay::{SocketReader, SocketWriter, relay};
use tp_proto::stream::{FrameReceiver, FrameSender, TunnelStream};

/// Relays every stream to a socket that always has more, once the gate is open.
#[derive(Clone)]
struct FarEnd {
    gate: watch::Receiver<bool>,
    read: Arc<AtomicUsize>,
}

impl Answer for FarEnd {
    fn is_tunnel(&self, _: &Parts) -> bool {
        true
    }

    async fn tunnel(&self, rx: FrameReceiver, tx: FrameSender) {
        let (_, mut tunnel) = TunnelStream::answer(rx, tx, Features::OURS).await.ok().unwrap();
        tunnel.tx.send(Frame::DialOk).await.unwrap();
        relay(Endless(self.clone()), Deaf, tunnel).await;
    }

    async fn call(&self, _: http::Request<ReceivedBody>) -> http::Response<Body> {
        Status::unimplemented("not needed here").into_http()
    }
}

struct Endless(FarEnd);

impl SocketReader for Endless {
    async fn readable(&mut self) -> io::Result<()> {
        self.0.gate.wait_for(|open| *open).await.unwrap();
        Ok(())
    }

    fn try_read_chunk(&mut self, most: usize) -> io::Result<Option<Bytes>> {
        let len = most.min(MAX_DATA);
        self.0.read.fetch_add(len, Ordering::Relaxed);
        Ok(Some(vec![7; len].into()))
    }

    async fn aborted(&mut self) {
        std::future::pending::<()>().await;
    }
}

struct Deaf;

impl SocketWriter for Deaf {
    async fn write_chunk(&mut self, _: Bytes) -> io::Result<()> {
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reset(&mut self) {}
}

struct Site {
    calls: SendRequest<Piece>,
    gate: watch::Sender<bool>,
    /// When true the client no longer reads its connection.
    still: watch::Sender<bool>,
    read: Arc<AtomicUsize>,
}

impl Site {
    /// Each stream of the client has this window.
    async fn new(window: u32) -> Self {
        let (gate, waits) = watch::channel(false);
        let (still, mut stands) = watch::channel(false);
        let read = Arc::default();
        let far_end = FarEnd { gate: waits, read: Arc::clone(&read) };
        let (near, far) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move { serve(far, &far_end, CancellationToken::new()).await });
        let (calls, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .initial_connection_window_size((1 << 31) - 1)
            .handshake::<_, Piece>(near)
            .await
            .unwrap();
        tokio::spawn(async move {
            let mut connection = Box::pin(connection);
            let _ = select(&mut connection, Box::pin(stands.changed())).await;
            std::future::pending::<()>().await;
        });
        Self { calls, gate, still, read }
    }

    /// How much has been read when nothing moves any more; at least so much will be.
    async fn settled(&self, least: usize) -> usize {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = self.read.load(Ordering::Relaxed);
            if now == before && now >= least {
                return now;
            }
            before = now;
        }
    }
}

#[tokio::test]
async fn one_read_more_than_the_peer_has_room_for() {
    const WINDOW: usize = 100_000;
    let site = Site::new(100_000).await;
    let (_stream, mut answers) = open(&site.calls, 1).await;
    site.gate.send(true).unwrap();
    let read = site.settled(WINDOW - 5000).await;
    assert!(read <= WINDOW + MAX_DATA, "{read}");
    // and goes on when there is room
    let mut received = 0;
    while received < 1_000_000 {
        let data = answers.data().await.unwrap().unwrap();
        answers.flow_control().release_capacity(data.len()).unwrap();
        received += data.len();
    }
    let read = site.settled(received + WINDOW - 10_000).await;
    assert!(read <= received + WINDOW + MAX_DATA, "{read} of {received}");
}

#[tokio::test]
async fn a_connection_that_stands_still_holds_little_in_sum() {
    const FLOWS: usize = 1000;
    let site = Site::new(4 << 20).await;
    let mut flows = Vec::new();
    for _ in 0..FLOWS {
        flows.push(open(&site.calls, 1).await);
    }
    site.still.send(true).unwrap();
    site.gate.send(true).unwrap();
    let (budget, little) = (64 << 20, 4096);
    let read = site.settled(budget).await;
    // and what is on its way
    assert!(read <= budget + FLOWS * little + (4 << 20), "{read}");
}
