//! What waits for readers that do not read is bounded in sum, and others get on meanwhile. The client is HTTP/2 alone: it
//! sends all that it is given room for, and sees the windows.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

#[path = "support/far_end.rs"]
mod far_end;
#[path = "support/open.rs"]
mod open;

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};
use far_end::FarEnd;
use h2::SendStream;
use h2::client::SendRequest;
use open::open;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tp_core::tunnel::{Frame, MAX_DATA, StreamInfo};
use tp_core::window::{BUDGET, FULL, LEAST};
use tp_proto::http2::{Piece, serve};
use tp_proto::relay::{SocketReader, SocketWriter, relay};
use tp_proto::stream::TunnelStream;

/// Destinations with this port read at once, all others when the gate is open.
const READS: u16 = 1;

/// Relays a stream to a socket that reads only when the gate is open.
async fn relays(info: StreamInfo, mut tunnel: TunnelStream, gate: watch::Receiver<bool>) {
    tunnel.tx.send(Frame::DialOk).await.unwrap();
    let gate = (info.id.destination.0.port() != READS).then_some(gate);
    relay(Silent, Gated(gate), tunnel).await;
}

struct Silent;

impl SocketReader for Silent {
    async fn readable(&mut self) -> io::Result<()> {
        std::future::pending().await
    }

    fn try_read_chunk(&mut self, _: usize) -> io::Result<Option<Bytes>> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    async fn aborted(&mut self) {
        std::future::pending::<()>().await;
    }
}

struct Gated(Option<watch::Receiver<bool>>);

impl SocketWriter for Gated {
    async fn write_chunk(&mut self, _: Bytes) -> io::Result<()> {
        if let Some(gate) = &mut self.0 {
            gate.wait_for(|open| *open).await.unwrap();
        }
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reset(&mut self) {}
}

type Calls = SendRequest<Piece>;

async fn connect(gate: watch::Receiver<bool>) -> Calls {
    let (near, far) = tokio::io::duplex(1 << 20);
    let far_end = FarEnd(move |info, tunnel| relays(info, tunnel, gate.clone()));
    tokio::spawn(async move { serve(far, &far_end, CancellationToken::new()).await });
    let (calls, connection) = h2::client::Builder::new()
        .max_send_buffer_size(2 * FULL as usize)
        .handshake::<_, Piece>(near)
        .await
        .unwrap();
    tokio::spawn(connection);
    calls
}

/// Sends until `most` bytes have left, or nothing moves any more.
async fn send(stream: &mut SendStream<Piece>, most: usize) -> usize {
    let (mut sent, mut rest) = (0, Piece::plain(Bytes::new()));
    while sent < most {
        if !rest.has_remaining() {
            rest = Piece::message(Frame::Normal(Bytes::from_static(&[7; MAX_DATA])));
        }
        stream.reserve_capacity(rest.remaining());
        if stream.capacity() == 0 {
            let room = std::future::poll_fn(|cx| stream.poll_capacity(cx));
            match tokio::time::timeout(Duration::from_secs(3), room).await {
                Ok(room) => room.unwrap().unwrap(),
                Err(_) => break,
            };
        }
        let mut all = rest.copy_to_bytes(rest.remaining());
        let now = all.split_to(all.len().min(stream.capacity()));
        sent += now.len();
        stream.send_data(Piece::plain(now), false).unwrap();
        rest = Piece::plain(all);
        tokio::task::yield_now().await;
    }
    sent
}

/// What a new stream has room for; its handshake took a little of it.
async fn window(calls: &Calls) -> u32 {
    let (mut stream, _answers) = open(calls, READS).await;
    stream.reserve_capacity(2 * FULL as usize);
    let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
    u32::try_from(room).unwrap().next_power_of_two()
}

#[tokio::test]
async fn readers_that_do_not_read_are_bounded_in_sum() {
    const FLOWS: usize = 400;
    let (gate, waits) = watch::channel(false);
    let calls = connect(waits).await;
    assert_eq!(window(&calls).await, FULL);
    let mut stalled = Vec::new();
    for _ in 0..FLOWS {
        let (mut stream, answers) = open(&calls, 2).await;
        let sending = tokio::spawn(async move { (send(&mut stream, 2 * FULL as usize).await, stream) });
        stalled.push((sending, answers));
    }
    let (mut sent, mut kept) = (0, Vec::new());
    for (sending, answers) in stalled {
        let (bytes, stream) = sending.await.unwrap();
        sent += bytes as u64;
        kept.push((stream, answers));
    }
    let small = window(&calls).await;
    eprintln!("{FLOWS} that do not read hold {} MiB, windows {} KiB", sent >> 20, small >> 10);
    // what arrives between two looks cannot be known: it is given as much again
    assert!(sent < 2 * (BUDGET + FLOWS as u64 * u64::from(LEAST)), "{sent}");
    assert!(small < FULL, "{small}");

    let (mut reads, _answers) = open(&calls, READS).await;
    assert_eq!(send(&mut reads, 16 << 20).await >> 20, 16, "a flow that reads does not get on");

    gate.send_replace(true);
    // the test's own patience ends it otherwise
    while window(&calls).await < FULL {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What it has sent so far fits into the first window, and is more than the last one.
#[tokio::test]
async fn a_flow_that_pauses_gets_on_after_the_windows_have_become_small() {
    const FLOWS: usize = 100;
    let (_gate, waits) = watch::channel(false);
    let calls = connect(waits).await;
    let (mut pauses, _answers) = open(&calls, READS).await;
    let before = FULL as usize / 4;
    assert!(send(&mut pauses, before).await >= before);
    let mut stalled = Vec::new();
    for _ in 0..FLOWS {
        let (mut stream, answers) = open(&calls, 2).await;
        let sending = tokio::spawn(async move { (send(&mut stream, 2 * FULL as usize).await, stream) });
        stalled.push((sending, answers));
    }
    let mut kept = Vec::new();
    for (sending, answers) in stalled {
        kept.push((sending.await.unwrap(), answers));
    }
    assert!(window(&calls).await < FULL / 8);
    assert!(send(&mut pauses, FULL as usize).await >= FULL as usize, "it does not get on");
}
