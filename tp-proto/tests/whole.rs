//! A read of a socket leaves in one piece, however much of its flow waits already. The client is HTTP/2 alone.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

#[path = "support/far_end.rs"]
mod far_end;
#[path = "support/open.rs"]
mod open;

use bytes::Bytes;
use far_end::FarEnd;
use open::open;
use tokio_util::sync::CancellationToken;
use tp_core::tunnel::{Frame, MAX_DATA};
use tp_proto::http2::{Piece, serve};
use tp_proto::stream::TunnelStream;

const READS: usize = 400;

/// A short one first, as an app's request: what follows is not aligned to anything.
async fn bulk(mut tunnel: TunnelStream) {
    tunnel.tx.send(Frame::DialOk).await.unwrap();
    tunnel.tx.send(Frame::Normal(Bytes::from_static(b"first"))).await.unwrap();
    for _ in 0..READS {
        tunnel.tx.send(Frame::Normal(Bytes::from_static(&[7; MAX_DATA]))).await.unwrap();
    }
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn every_read_is_one_frame_on_the_wire() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let far_end = FarEnd(|_, tunnel| bulk(tunnel));
    tokio::spawn(async move { serve(far, &far_end, CancellationToken::new()).await });
    let (calls, connection) = h2::client::Builder::new()
        .max_frame_size(1 << 18)
        .initial_window_size((1 << 31) - 1) // no reason to cut
        .initial_connection_window_size((1 << 31) - 1)
        .handshake::<_, Piece>(near)
        .await
        .unwrap();
    tokio::spawn(connection);
    let (_request, mut answers) = open(&calls, 1).await;

    let whole = Piece::message(Frame::Normal(Bytes::from_static(&[7; MAX_DATA])));
    let whole = bytes::Buf::remaining(&whole);
    let mut lengths = Vec::new();
    while lengths.iter().sum::<usize>() < READS * whole {
        lengths.push(answers.data().await.unwrap().unwrap().len());
    }
    let cut: Vec<usize> = lengths.iter().copied().skip(1).filter(|length| *length != whole).collect();
    assert!(cut.is_empty(), "{} of {} frames are parts: {cut:?}", cut.len(), lengths.len());
}
