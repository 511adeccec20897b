//! A server whose app does not read waits, as it would without us, and what a connection that stands still holds is
//! bounded in sum. The client is HTTP/2 alone and says what room there is.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

#[path = "support/far_end.rs"]
mod far_end;
#[path = "support/open.rs"]
mod open;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use far_end::FarEnd;
use futures_util::future::select;
use h2::client::SendRequest;
use open::open;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tp_core::tunnel::{Frame, MAX_DATA};
use tp_proto::http2::{Piece, serve};
use tp_proto::relay::{Ending, SocketReader, SocketWriter, relay};
use tp_proto::stream::TunnelStream;

/// Sockets that always have more, once the gate is open.
#[derive(Clone)]
struct Endless {
    gate: watch::Receiver<bool>,
    /// When true they are reset.
    reset: watch::Receiver<bool>,
    read: Arc<AtomicUsize>,
}

impl SocketReader for Endless {
    async fn readable(&mut self) -> io::Result<()> {
        self.gate.wait_for(|open| *open).await.unwrap();
        Ok(())
    }

    fn try_read_chunk(&mut self, most: usize) -> io::Result<Option<Bytes>> {
        let len = most.min(MAX_DATA);
        self.read.fetch_add(len, Ordering::Relaxed);
        Ok(Some(vec![7; len].into()))
    }

    async fn aborted(&mut self) {
        self.reset.wait_for(|reset| *reset).await.unwrap();
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

async fn relays(mut tunnel: TunnelStream, endless: Endless, ended: mpsc::UnboundedSender<Ending>) {
    tunnel.tx.send(Frame::DialOk).await.unwrap();
    let _ = ended.send(relay(endless, Deaf, tunnel).await.ending);
}

struct Site {
    calls: SendRequest<Piece>,
    gate: watch::Sender<bool>,
    /// When true the client no longer reads its connection.
    still: watch::Sender<bool>,
    reset: watch::Sender<bool>,
    endings: mpsc::UnboundedReceiver<Ending>,
    read: Arc<AtomicUsize>,
}

impl Site {
    /// Each stream of the client has this window.
    async fn new(window: usize) -> Self {
        let (gate, waits) = watch::channel(false);
        let (still, mut stands) = watch::channel(false);
        let (reset, aborted) = watch::channel(false);
        let (ended, endings) = mpsc::unbounded_channel();
        let read = Arc::default();
        let endless = Endless { gate: waits, reset: aborted, read: Arc::clone(&read) };
        let far_end = FarEnd(move |_, tunnel| relays(tunnel, endless.clone(), ended.clone()));
        let (near, far) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move { serve(far, &far_end, CancellationToken::new()).await });
        let (calls, connection) = h2::client::Builder::new()
            .initial_window_size(u32::try_from(window).unwrap())
            .initial_connection_window_size((1 << 31) - 1)
            .handshake::<_, Piece>(near)
            .await
            .unwrap();
        tokio::spawn(async move {
            let mut connection = Box::pin(connection);
            let _ = select(&mut connection, Box::pin(stands.changed())).await;
            std::future::pending::<()>().await;
        });
        Self { calls, gate, still, reset, endings, read }
    }

    /// How much has been read when nothing moves any more; at least so much has to be.
    async fn settled(&self, least: usize) -> usize {
        let (mut before, mut still) = (0, 0);
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = self.read.load(Ordering::Relaxed);
            still = if now == before { still + 1 } else { 0 };
            if still > 0 && now >= least {
                return now;
            }
            assert!(still < 60, "only {now} of {least} bytes were read");
            before = now;
        }
    }
}

#[tokio::test]
async fn one_read_more_than_the_peer_has_room_for() {
    const WINDOW: usize = 100_000;
    let site = Site::new(WINDOW).await;
    let (_stream, mut answers) = open(&site.calls, 1).await;
    site.gate.send(true).unwrap();
    let read = site.settled(WINDOW - 5000).await;
    assert!(read <= WINDOW + MAX_DATA, "{read}");
    // and goes on when there is room
    let mut received = 0;
    while received < 1_000_000 {
        let data = soon(answers.data()).await.unwrap().unwrap();
        answers.flow_control().release_capacity(data.len()).unwrap();
        received += data.len();
    }
    let read = site.settled(received + WINDOW - 10_000).await;
    assert!(read <= received + WINDOW + MAX_DATA, "{read} of {received}");
}

#[tokio::test]
async fn a_connection_that_stands_still_holds_little_in_sum_and_hears_of_resets() {
    const FLOWS: usize = 1000;
    let mut site = Site::new(4 << 20).await;
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

    site.reset.send(true).unwrap();
    for ended in 0..FLOWS {
        assert_eq!(soon(site.endings.recv()).await, Some(Ending::SocketReset), "after {ended} of {FLOWS}");
    }
}

/// Fails where nothing would ever come.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.unwrap()
}
