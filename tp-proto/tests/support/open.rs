//! A tunnel stream of a client that is HTTP/2 alone.
use std::time::Duration;

use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use tp_core::addr::{AppAddr, ClusterAddr};
use tp_core::flow::Proto;
use tp_core::tunnel::{ConnId, Features, Frame, StreamInfo};
use tp_proto::http2::Piece;

/// A stream whose handshake is over. The response must live as long.
pub(crate) async fn open(calls: &SendRequest<Piece>, port: u16) -> (SendStream<Piece>, h2::RecvStream) {
    let id = ConnId {
        source: AppAddr("127.0.0.1:9".parse().unwrap()),
        destination: ClusterAddr(([127, 0, 0, 1], port).into()),
        proto: Proto::Tcp,
    };
    let info = StreamInfo {
        id,
        session: "test".into(),
        roundtrip_latency: Duration::from_secs(1),
        dial_timeout: Duration::from_secs(1),
        features: Features::OURS,
    };
    let mut calls = calls.clone().ready().await.unwrap();
    let request = http::Request::post("http://far.end/tunnel").body(()).unwrap();
    let (response, mut stream): (ResponseFuture, _) = calls.send_request(request, false).unwrap();
    stream.send_data(Piece::message(Frame::StreamInfo(info)), false).unwrap();
    let mut answers = response.await.unwrap().into_body();
    for _ in ["StreamOK", "DialOK"] {
        answers.data().await.unwrap().unwrap();
    }
    (stream, answers)
}
