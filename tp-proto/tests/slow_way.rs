//! Little waits in a way that is slow and has deep buffers, as a port-forward has: what waits there, no other flow's message can
//! overtake.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

#[path = "support/far_end.rs"]
mod far_end;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use far_end::FarEnd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tp_core::addr::{AppAddr, ClusterAddr};
use tp_core::flow::Proto;
use tp_core::tunnel::{ConnId, Frame};
use tp_core::window::{FLOOR, FULL};
use tp_proto::client::{Auth, Connecting, Connector, Dial, Io, Tunnels, channel};
use tp_proto::http2::serve;
use tp_proto::stream::TunnelStream;

/// Of the way to us, in bytes every [`TICK`]: 52 Mbit/s.
const EACH_TICK: usize = 64 << 10;
const TICK: Duration = Duration::from_millis(10);

/// Longer than the windows need to become small, and than the way may be taken for the same one.
const READ: usize = 24 << 20;

async fn pours(_: tp_core::tunnel::StreamInfo, mut tunnel: TunnelStream) {
    tunnel.tx.send(Frame::DialOk).await.unwrap();
    let block = Bytes::from_static(&[7; 32 << 10]);
    while tunnel.tx.send(Frame::Normal(block.clone())).await.is_ok() {}
}

const PATIENCE: Duration = Duration::from_secs(10);

/// Each connection has a far end of its own, which sends as fast as the windows let it.
struct Way {
    waits: Arc<AtomicUsize>,
}

impl Connector for Way {
    fn connect(&self) -> Connecting {
        let (near, near_end) = tokio::io::duplex(64 << 10);
        let (far, far_end) = tokio::io::duplex(64 << 10);
        tokio::spawn(carry(near_end, far_end, Arc::clone(&self.waits)));
        tokio::spawn(async move { serve(far, &FarEnd(pours), CancellationToken::new()).await });
        Box::pin(async move { Ok(Box::new(near) as Box<dyn Io>) })
    }
}

async fn carry(near: DuplexStream, far: DuplexStream, waits: Arc<AtomicUsize>) {
    let (mut from_near, mut to_near) = tokio::io::split(near);
    let (mut from_far, mut to_far) = tokio::io::split(far);
    let (sender, mut queue) = mpsc::unbounded_channel::<Vec<u8>>();
    let arriving = async {
        let mut buf = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_far.read(&mut buf).await {
            waits.fetch_add(length, Ordering::Relaxed);
            sender.send(buf[..length].to_vec()).unwrap();
        }
    };
    let leaving = async {
        let mut allowed = 0;
        while let Some(piece) = queue.recv().await {
            while allowed < piece.len() {
                tokio::time::sleep(TICK).await;
                allowed += EACH_TICK;
            }
            allowed -= piece.len();
            if to_near.write_all(&piece).await.is_err() {
                return;
            }
            waits.fetch_sub(piece.len(), Ordering::Relaxed);
        }
    };
    let back = tokio::io::copy(&mut from_near, &mut to_far);
    tokio::select! {
        () = arriving => {}
        () = leaving => {}
        _ = back => {}
    }
}

#[tokio::test]
async fn little_waits_on_a_slow_way_with_deep_buffers() {
    let waits = Arc::new(AtomicUsize::new(0));
    let way = Arc::new(Way { waits: Arc::clone(&waits) });
    let first = channel(way.clone(), Auth::default()).await.unwrap();
    let tunnels = Tunnels::new(first, way, Auth::default(), 100);
    tokio::time::sleep(Duration::from_millis(300)).await; // the first pings
    let id = ConnId {
        source: AppAddr("127.0.0.1:9".parse().unwrap()),
        destination: ClusterAddr(([127, 0, 0, 1], 80).into()),
        proto: Proto::Tcp,
    };
    let second = Duration::from_secs(1);
    let dial = Dial { id, session: "test".into(), timeout: second, roundtrip: second };
    let (mut tunnel, _slot) = tunnels.open(dial).await.unwrap();
    let (mut read, mut at_first, mut in_the_end) = (0, 0, 0);
    while read < READ {
        let frame = tokio::time::timeout(PATIENCE, tunnel.rx.recv()).await.expect("nothing moves any more");
        let Some(Frame::Normal(data)) = frame.unwrap() else { panic!("it ended") };
        read += data.len();
        let most = if read < READ / 2 { &mut at_first } else { &mut in_the_end };
        *most = waits.load(Ordering::Relaxed).max(*most);
    }
    eprintln!("waiting at first: {} KiB, in the end: {} KiB", at_first >> 10, in_the_end >> 10);
    assert!(at_first > FULL as usize / 2, "the way is not deep: {at_first}");
    assert!(in_the_end < 8 * FLOOR as usize, "{in_the_end} bytes wait on the way");
}
