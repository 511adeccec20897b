//! A server that answers every call as a tunnel.

use http::request::Parts;
use tonic::Status;
use tonic::body::Body;
use tp_core::tunnel::{Features, StreamInfo};
use tp_proto::http2::{Answer, ReceivedBody};
use tp_proto::stream::{FrameReceiver, FrameSender, TunnelStream};

/// Does this with every stream.
#[derive(Clone)]
pub(crate) struct FarEnd<F>(pub(crate) F);

impl<F, R> Answer for FarEnd<F>
where
    F: Fn(StreamInfo, TunnelStream) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = ()> + Send,
{
    fn is_tunnel(&self, _: &Parts) -> bool {
        true
    }

    async fn tunnel(&self, rx: FrameReceiver, tx: FrameSender) {
        let (info, tunnel) = TunnelStream::answer(rx, tx, Features::OURS).await.ok().unwrap();
        self.0(info, tunnel).await;
    }

    async fn call(&self, _: http::Request<ReceivedBody>) -> http::Response<Body> {
        Status::unimplemented("not needed here").into_http()
    }
}
