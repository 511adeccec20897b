//! The receiving half: frames come out of what the connection has read, without a copy.

use std::task::{Context, Poll, ready};

use h2::RecvStream;
use tonic::{Code, Status};
use tp_core::flow::Proto;
use tp_core::tunnel::Frame;

use super::unframe::Unframe;
use super::{Meter, StreamError};
use crate::http2::{Flow, Flows, status_of};

/// The sender may go on only as far as its frames have been used: whoever asks for the next frame is through with the one
/// before.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: RecvStream,
    unframe: Unframe,
    /// Bytes in `unframe` for which the sender has not been given room yet.
    unused: usize,
    ended: bool,
    flow: Flow,
    pub(super) meter: Meter,
}

impl FrameReceiver {
    pub(crate) fn new(mut stream: RecvStream, flows: &Flows) -> Self {
        let (flow, unframe, meter) = (flows.enter(&mut stream), Unframe::default(), Meter::default());
        Self { stream, unframe, unused: 0, ended: false, flow, meter }
    }

    /// A message longer than this, in bytes, ends the stream.
    pub fn limit(&mut self, limit: usize) {
        self.unframe.limit = limit;
    }

    /// What the stream carries. Of a byte stream, data may come in smaller frames than it was sent in.
    pub(crate) fn carries(&mut self, proto: Proto) {
        self.unframe.whole = proto == Proto::Udp;
    }

    /// Next frame; `None` is the regular end of the peer's direction.
    pub async fn recv(&mut self) -> Result<Option<Frame>, StreamError> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Waits for `work`, which uses what was received.
    pub(crate) async fn using<T>(&self, work: impl Future<Output = T>) -> T {
        self.flow.using(work).await
    }

    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, StreamError>> {
        loop {
            if let Some(frame) = self.unframe.next()? {
                return Poll::Ready(Ok(Some(frame)));
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            if self.unused > 0 {
                // fails only on a stream that has ended meanwhile
                let _ = self.stream.flow_control().release_capacity(std::mem::take(&mut self.unused));
            }
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.meter.add(data.len());
                    self.flow.received(data.len());
                    self.unused = data.len();
                    self.unframe.push(data);
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(end(status_of(error)));
                }
                None => {
                    let trailers = ready!(self.stream.poll_trailers(cx));
                    self.ended = true;
                    match trailers {
                        Ok(trailers) => {
                            let status = trailers.as_ref().and_then(Status::from_header_map);
                            if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
                                return Poll::Ready(end(status));
                            }
                        }
                        Err(error) => return Poll::Ready(end(status_of(error))),
                    }
                }
            }
        }
    }
}

/// An opener that is through cancels its call right after its half-close (facts §4.4).
fn end(status: Status) -> Result<Option<Frame>, StreamError> {
    if status.code() == Code::Cancelled { Ok(None) } else { Err(Box::new(status).into()) }
}
