//! Whatever comes out of the TUN, and in whatever order: nothing panics, and nothing is kept for ever.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tp_core::tunnel::MAX_DATA;
use tp_core::udp_flows::{Limits, UdpFlows};
use tp_proto::relay::{SocketReader, SocketWriter};

use super::reader::take;
use super::segments::Segments;
use super::shared::Shared;
use super::stream::Stream;
use super::wire::Wire;
use crate::dataplane::tun::VNET_HDR;
use crate::dataplane::{AppStream, Arrival};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const FIRST: u32 = 0xffff_fff0; // wraps soon

/// A dataplane whose TUN is a socket: what is written to it comes out of `app`.
struct Bench {
    shared: Arc<Shared>,
    arrivals: mpsc::Receiver<Arrival>,
    app: UnixDatagram,
}

impl Bench {
    fn new() -> Self {
        let (tun, app) = UnixDatagram::pair().unwrap();
        tun.set_nonblocking(true).unwrap();
        app.set_nonblocking(true).unwrap();
        let (sender, arrivals) = mpsc::channel(16);
        let wire = Wire::new(tun.into(), Segments::LARGE).unwrap();
        let shared = Shared::new(wire, UdpFlows::new(Limits::default()), sender);
        Self { shared, arrivals, app }
    }

    fn take(&self, segment: &[u8]) {
        take(&self.shared, segment);
    }

    /// All packets for the app, without their virtio headers.
    fn answers(&self) -> Vec<Vec<u8>> {
        let mut buf = vec![0; 70_000];
        let next = || self.app.recv(&mut buf).ok().map(|len| buf[VNET_HDR..len].to_vec());
        std::iter::from_fn(next).collect()
    }

    /// A connection, and the sequence number that we chose.
    async fn connect(&mut self, v4: bool) -> (Stream, u32) {
        let options = [2, 4, 0x05, 0xb4, 4, 2, 3, 3, 7, 0, 0, 0];
        self.take(&segment(v4, SYN, FIRST, 0, 65_000, &options, &[]));
        let Some(Arrival::Tcp(held)) = self.arrivals.recv().await else { panic!("no SYN arrived") };
        let admitted = tokio::spawn(held.admit());
        let mut answers = Vec::new();
        while answers.is_empty() {
            tokio::task::yield_now().await;
            answers = self.answers();
        }
        let at = if v4 { 20 } else { 40 };
        assert_eq!(answers[0][at + 13], SYN | ACK);
        let ours = u32::from_be_bytes(answers[0][at + 4..at + 8].try_into().unwrap()).wrapping_add(1);
        self.take(&segment(v4, ACK, FIRST.wrapping_add(1), ours, 65_000, &[], &[]));
        match admitted.await.unwrap() {
            Ok(AppStream::Userspace(stream)) => (stream, ours),
            other => panic!("{other:?}"),
        }
    }
}

/// From 10.0.0.1:4000 to 10.96.0.5:80, or the same in IPv6, with the header that the TUN puts in front.
fn segment(v4: bool, flags: u8, seq: u32, ack: u32, window: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut tcp = [4000u16.to_be_bytes(), 80u16.to_be_bytes()].concat();
    tcp.extend(seq.to_be_bytes());
    tcp.extend(ack.to_be_bytes());
    tcp.extend([u8::try_from(5 + options.len() / 4).unwrap() << 4, flags]);
    tcp.extend(window.to_be_bytes());
    tcp.extend([0; 4]);
    tcp.extend(options);
    tcp.extend(payload);
    let mut packet = vec![0; VNET_HDR];
    if v4 {
        let len = u16::try_from(20 + tcp.len()).unwrap().to_be_bytes();
        packet.extend([0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 96, 0, 5]);
    } else {
        let len = u16::try_from(tcp.len()).unwrap().to_be_bytes();
        packet.extend([
            0x60, 0, 0, 0, len[0], len[1], 6, 64, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        ]);
        packet.extend([0xfd, 0x96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
    }
    packet.extend(tcp);
    packet
}

#[derive(Clone, Debug)]
enum Step {
    Segment { flags: u8, seq: i32, ack: i32, window: u16, options: Vec<u8>, payload: usize },
    Write(usize),
    Read,
    Finish,
    Abort,
    Time,
    Shrink(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![
        8 => Just(ACK), 4 => Just(ACK | PSH), 2 => Just(ACK | FIN), 1 => Just(RST), 1 => Just(RST | ACK),
        1 => Just(SYN), 1 => Just(SYN | ACK), 1 => any::<u8>()
    ];
    let near = || prop_oneof![4 => Just(0), 3 => -5..5i32, 2 => -70_000..700_000i32, 1 => any::<i32>()];
    let options = prop_oneof![6 => Just(vec![]), 1 => proptest::collection::vec(any::<u8>(), 4..41)]
        .prop_map(|mut options: Vec<u8>| {
            options.truncate(options.len() / 4 * 4);
            options
        });
    let payload = prop_oneof![3 => Just(0), 3 => 1..2000usize, 1 => 2000..60_000usize];
    prop_oneof![
        12 => (flags, near(), near(), any::<u16>(), options, payload).prop_map(
            |(flags, seq, ack, window, options, payload)| {
                Step::Segment { flags, seq, ack, window, options, payload }
            }
        ),
        4 => (1..300_000usize).prop_map(Step::Write),
        3 => Just(Step::Read),
        1 => Just(Step::Finish),
        1 => Just(Step::Abort),
        1 => Just(Step::Time),
        1 => (0..2000u32).prop_map(Step::Shrink),
    ]
}

async fn play(v4: bool, steps: Vec<Step>) {
    let mut bench = Bench::new();
    let (stream, ours) = bench.connect(v4).await;
    let (mut read, mut write) = stream.into_split();
    let (mut next, mut sent) = (FIRST.wrapping_add(1), 0u32);
    let at_once = Duration::from_millis(1);
    for step in steps {
        match step {
            Step::Segment { flags, seq, ack, window, options, payload } => {
                let (seq_no, ack_no) =
                    (next.wrapping_add_signed(seq), ours.wrapping_add(sent).wrapping_add_signed(ack));
                bench.take(&segment(v4, flags, seq_no, ack_no, window, &options, &vec![7; payload]));
                if seq == 0 {
                    next = next.wrapping_add(u32::try_from(payload).unwrap());
                }
            }
            Step::Write(len) => {
                let _ = tokio::time::timeout(at_once, write.write_chunk(Bytes::from(vec![8; len]))).await;
            }
            Step::Read => {
                let _ = tokio::time::timeout(at_once, read.readable()).await;
                drop(read.try_read_chunk(MAX_DATA));
            }
            Step::Finish => drop(write.finish().await),
            Step::Abort => write.reset(),
            Step::Time => bench.shared.sweep(),
            Step::Shrink(mtu) => {
                let flow = bench.shared.any_flow();
                if let Some(connection) = flow.and_then(|flow| bench.shared.connection(&flow)) {
                    connection.shrink(mtu.max(576));
                }
            }
        }
        for answer in bench.answers() {
            let (at, header) = if v4 { (20, 20) } else { (40, 40) };
            let tcp = usize::from(answer[at + 12] >> 4) * 4;
            sent =
                sent.max(u32::try_from(answer.len() - header - tcp).unwrap().wrapping_add(sent)) % 1_000_000;
        }
    }
    drop((read, write));
    // Whatever has happened, a reset in the window or the orphan's end closes it; here the app says it in person.
    let flow = bench.shared.any_flow();
    if let Some(connection) = flow.and_then(|flow| bench.shared.connection(&flow)) {
        connection.abort();
    }
    assert!(bench.shared.any_flow().is_none(), "it is forgotten");
}

proptest! {
    #[test]
    fn any_segments_in_any_order_end_in_peace(v4: bool, steps in proptest::collection::vec(step(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(v4, steps));
    }

    #[test]
    fn any_packets_are_taken_without_panic(
        packets in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200), 0usize..60, any::<u8>()), 0..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new();
            for (v4, noise, at, byte) in packets {
                bench.take(&noise);
                // one that is nearly right
                let mut packet = segment(v4, SYN, 1, 0, 100, &[], &noise);
                if let Some(place) = packet.get_mut(VNET_HDR + at) {
                    *place = byte;
                }
                bench.take(&packet);
                if let Ok(Arrival::Udp(held)) = bench.arrivals.try_recv()
                    && let Ok(socket) = held.admit().await
                {
                    let _ = socket.send(&noise).await;
                }
                bench.answers();
            }
        });
    }
}

/// The first window that we say is not scaled, but smoltcp believes so.
#[test]
fn data_behind_the_window_are_ignored() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut bench = Bench::new();
        let (_stream, ours) = bench.connect(true).await;
        let far = FIRST.wrapping_add(1 + 260_416);
        bench.take(&segment(true, ACK, far, ours, 65_000, &[], &[7; 1729]));
        let mut next = FIRST.wrapping_add(1);
        for _ in 0..10 {
            bench.take(&segment(true, ACK, next, ours, 65_000, &[], &[7; 60_000]));
            next = next.wrapping_add(60_000);
        }
        assert_eq!(
            bench
                .shared
                .counts()
                .moved()
                .iter()
                .find(|(name, _)| *name == "tun.behind_the_window")
                .unwrap()
                .1,
            7
        );
    });
}

/// Three bytes are left in the ring, the window is told as nothing, and the app has sent them by the window before it. Its
/// word that it takes data again must reach us: the far end may wait for that with what would empty the ring.
#[test]
fn an_app_that_stands_behind_the_window_is_heard() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (v4, with_its_bytes) in [(true, false), (true, true), (false, false), (false, true)] {
            let mut bench = Bench::new();
            let (stream, ours) = bench.connect(v4).await;
            let (_read, mut write) = stream.into_split();
            let mut next = FIRST.wrapping_add(1);
            for len in [60_000, 60_000, 60_000, 60_000, (256 << 10) - 240_000 - 3] {
                bench.take(&segment(v4, ACK, next, ours, 0, &[], &vec![7; len]));
                next = next.wrapping_add(u32::try_from(len).unwrap());
            }
            let told = bench.answers().pop().unwrap();
            let at = if v4 { 20 } else { 40 };
            assert_eq!(told[at + 8..at + 12], next.to_be_bytes(), "all has arrived");
            assert_eq!(told[at + 14..at + 16], [0, 0], "and nothing more is wanted");
            bench.take(&segment(v4, ACK, next, ours, 0, &[], b"end"));
            bench.answers();
            write.write_chunk(Bytes::from_static(b"for the app")).await.unwrap();
            assert_eq!(bench.answers(), Vec::<Vec<u8>>::new(), "it takes nothing yet");
            let (seq, bytes) =
                if with_its_bytes { (next, &b"end"[..]) } else { (next.wrapping_add(3), &b""[..]) };
            bench.take(&segment(v4, ACK, seq, ours, 65_000, &[], bytes));
            let sent = bench.answers();
            assert!(
                sent.iter().any(|packet| packet.ends_with(b"for the app")),
                "{with_its_bytes}: {sent:02x?}"
            );
        }
    });
}

#[test]
fn a_connection_that_both_ends_have_closed_is_forgotten_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (v4, we_first) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut bench = Bench::new();
            let (stream, ours) = bench.connect(v4).await;
            let theirs = FIRST.wrapping_add(1);
            let fin = |ack| segment(v4, ACK | FIN, theirs, ack, 65_000, &[], &[]);
            if we_first {
                drop(stream);
                bench.take(&fin(ours.wrapping_add(1)));
            } else {
                bench.take(&fin(ours));
                drop(stream);
                bench.take(&segment(v4, ACK, theirs.wrapping_add(1), ours.wrapping_add(1), 65_000, &[], &[]));
            }
            assert!(bench.shared.any_flow().is_none(), "IPv4 {v4}, we first {we_first}");
            let last = bench.answers().pop().unwrap();
            let at = if v4 { 20 } else { 40 };
            assert_eq!(
                last[at + 8..at + 12],
                theirs.wrapping_add(1).to_be_bytes(),
                "their end is acknowledged"
            );
        }
    });
}
