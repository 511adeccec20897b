//! What belongs together, and what many flows have to say in the same moment, leaves in few writes.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

#[path = "support/far_end.rs"]
mod far_end;
#[path = "support/open.rs"]
mod open;

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use far_end::FarEnd;
use open::open;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tp_core::addr::{AppAddr, ClusterAddr};
use tp_core::flow::Proto;
use tp_core::tunnel::{ConnId, Frame};
use tp_proto::client::{Auth, Connecting, Connector, Dial, Io, Tunnels, channel};
use tp_proto::http2::{Piece, serve};
use tp_proto::relay::{Ending, SocketReader, SocketWriter, relay};
use tp_proto::stream::TunnelStream;

const FLOWS: usize = 64;

/// Counts the writes that reach the other end.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

async fn says_a_word(mut tunnel: TunnelStream, mut now: watch::Receiver<bool>) {
    tokio::time::sleep(Duration::from_millis(1)).await; // the dial
    tunnel.tx.send(Frame::DialOk).await.unwrap();
    now.wait_for(|now| *now).await.unwrap();
    tunnel.tx.send(Frame::Normal(Bytes::from_static(b"word"))).await.unwrap();
    std::future::pending::<()>().await;
}

// one worker thread, as the daemon and the manager have on two processors
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sixty_four_words_in_few_writes() {
    let (now, gate) = watch::channel(false);
    let (near, far) = tokio::io::duplex(1 << 20);
    let writes = Arc::new(AtomicUsize::new(0));
    let far = Counted(far, Arc::clone(&writes));
    let far_end = FarEnd(move |_, tunnel| says_a_word(tunnel, gate.clone()));
    tokio::spawn(async move { serve(far, &far_end, CancellationToken::new()).await });
    let (calls, connection) = h2::client::Builder::new().handshake::<_, Piece>(near).await.unwrap();
    tokio::spawn(connection);

    let mut flows = Vec::new();
    for port in 1..=u16::try_from(FLOWS).unwrap() {
        flows.push(open(&calls, port).await);
    }

    let before = writes.load(Ordering::Relaxed);
    // about one for a flow: the answer to the call, StreamOK and the outcome of the dial leave together
    assert!(before <= FLOWS + FLOWS / 2, "{FLOWS} handshakes in {before} writes");
    now.send_replace(true);
    for (_, answers) in &mut flows {
        assert!(answers.data().await.unwrap().unwrap().ends_with(b"word"));
    }
    let writes = writes.load(Ordering::Relaxed) - before;
    assert!(writes <= FLOWS / 8, "{FLOWS} words in {writes} writes");
}

/// Gives the same byte stream once.
struct Once(Mutex<Option<Counted>>);

impl Connector for Once {
    fn connect(&self) -> Connecting {
        let io = self.0.lock().unwrap().take();
        Box::pin(async move { Ok(Box::new(io.ok_or(io::ErrorKind::NotFound)?) as Box<dyn Io>) })
    }
}

/// A socket whose app has said all.
struct Ended;

impl SocketReader for Ended {
    async fn readable(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn try_read_chunk(&mut self, _: usize) -> io::Result<Option<Bytes>> {
        Ok(None)
    }

    async fn aborted(&mut self) {
        std::future::pending::<()>().await;
    }
}

impl SocketWriter for Ended {
    async fn write_chunk(&mut self, _: Bytes) -> io::Result<()> {
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reset(&mut self) {}
}

/// The far end has no more to say before the app has.
async fn says_nothing_more(mut tunnel: TunnelStream) {
    tunnel.tx.send(Frame::DialOk).await.unwrap();
    tunnel.tx.send(Frame::HalfClose).await.unwrap();
    while let Ok(Some(_)) = tunnel.rx.recv().await {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_begins_in_one_write_and_ends_in_one() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let far_end = FarEnd(|_, tunnel| says_nothing_more(tunnel));
    tokio::spawn(async move { serve(far, &far_end, CancellationToken::new()).await });
    let writes = Arc::new(AtomicUsize::new(0));
    let connector = Arc::new(Once(Mutex::new(Some(Counted(near, Arc::clone(&writes))))));
    let calls = channel(connector.clone(), Auth::default()).await.unwrap();
    let tunnels = Tunnels::to_agent(calls, connector, 10);
    let id = ConnId {
        source: AppAddr("127.0.0.1:9".parse().unwrap()),
        destination: ClusterAddr(([127, 0, 0, 1], 1).into()),
        proto: Proto::Tcp,
    };
    let (timeout, roundtrip) = (Duration::from_secs(5), Duration::from_secs(5));
    // in a task of its own, as a flow is; the first one is also what the connection has to say for itself
    let written = tokio::spawn(async move {
        let mut written = Vec::new();
        for _ in 0..2 {
            let (before, dial) =
                (writes.load(Ordering::Relaxed), Dial { id, session: "test".into(), timeout, roundtrip });
            let (tunnel, _slot) = tunnels.open(dial).await.unwrap();
            let begun = writes.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await; // the far end's last word is there
            let between = writes.load(Ordering::Relaxed);
            assert_eq!(relay(Ended, Ended, tunnel).await.ending, Ending::Closed);
            written = vec![begun - before, writes.load(Ordering::Relaxed) - between];
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        written
    });
    assert_eq!(written.await.unwrap(), [1, 1], "writes to begin and to end a call");
}
