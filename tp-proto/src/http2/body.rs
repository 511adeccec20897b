//! Bodies of calls that are tonic's: a received one as `http_body` has it, and one that is sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http_body::{Body, Frame};
use tonic::Status;

use super::{Piece, status_of};

/// A body that arrives. What was taken out of it makes room for more at once.
#[derive(Debug)]
pub struct ReceivedBody {
    stream: RecvStream,
    data_ended: bool,
}

impl ReceivedBody {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, data_ended: false }
    }
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        while !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // fails only on a stream that has ended meanwhile
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(status_of(error)))),
                None => self.data_ended = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(Some(Err(status_of(error)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

/// Sends a body to its end, no faster than the peer takes it; stops when the peer has cancelled the call.
pub(super) async fn send_body<B>(body: B, mut stream: SendStream<Piece>) -> Result<(), h2::Error>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = std::pin::pin!(body);
    loop {
        let frame = tokio::select! {
            frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)) => frame,
            reset = std::future::poll_fn(|cx| stream.poll_reset(cx)) => return reset.map(drop),
        };
        match frame {
            None => return stream.send_data(Piece::plain(Bytes::new()), true),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => send(&mut stream, Piece::plain(data)).await?,
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return stream.send_trailers(trailers);
                    }
                }
            },
            Some(Err(error)) => {
                tracing::debug!(error = error.into(), "a body broke off");
                stream.send_reset(h2::Reason::INTERNAL_ERROR);
                return Ok(());
            }
        }
    }
}

/// Sends one piece, as far as the peer and the connection have room for it, and waits for more room for the rest.
pub(crate) async fn send(stream: &mut SendStream<Piece>, mut piece: Piece) -> Result<(), h2::Error> {
    use bytes::Buf;
    loop {
        let len = piece.remaining();
        if len == 0 {
            return Ok(());
        }
        stream.reserve_capacity(len);
        let mut room = stream.capacity();
        while room == 0 {
            room = match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(room) => room?,
                None => return Err(h2::Reason::CANCEL.into()),
            };
        }
        if room >= len {
            return stream.send_data(piece, false);
        }
        stream.send_data(piece.split_to(room), false)?;
    }
}
