//! The sending half: frames go to the HTTP/2 connection without a task or a queue of ours in between.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use http::HeaderMap;
use tonic::Status;
use tp_core::tunnel::Frame;

use super::outgoing::Outgoing;
use super::{Meter, Role};
use crate::http2::{Piece, Unsent};

/// A call is cancelled for this reason when a socket was reset and no frame can say so any more (RFC 9113 §7).
const SOCKET_RESET: h2::Reason = h2::Reason::CONNECT_ERROR;

/// Sends frames; dropping it half-closes the gRPC stream (opener) or ends the call (answerer). What was sent before
/// arrives before.
#[derive(Debug)]
pub struct FrameSender {
    stream: Outgoing,
    role: Role,
    /// Goes before the next frame.
    held: Option<Piece>,
    /// Of a frame, what there was no room for yet.
    rest: Option<Piece>,
    ended: bool,
    unsent: Unsent,
    pub(super) meter: Meter,
}

/// The peer is gone: nothing can be sent any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the peer ended the tunnel stream")]
pub struct PeerGone;

impl FrameSender {
    pub(crate) fn new(stream: impl Into<Outgoing>, role: Role) -> Self {
        let stream = stream.into();
        let (unsent, meter) = (Unsent::default(), Meter::default());
        Self { stream, role, held: None, rest: None, ended: false, unsent, meter }
    }

    /// Answers the call, without a frame.
    pub(super) fn respond(&mut self) {
        let _ = self.stream.open(); // a peer that is gone does not need it
    }

    /// To be sent with the next frame: one write, and one waking of each process on the way, instead of two.
    pub(super) fn hold(&mut self, frame: Frame) {
        self.held = Some(Piece::message(frame));
    }

    /// Sends a frame that is small and the first of its call. It leaves with the head of the call: before that is on its way a
    /// new stream has no room, so that to wait for some would take another write, and another waking of the far end.
    pub(crate) fn send_first(&mut self, frame: Frame) -> Result<(), PeerGone> {
        let piece = Piece::message(frame);
        self.meter.add(piece.remaining());
        let piece = piece.counted(&self.unsent);
        self.stream.open()?.send_data(piece, false).map_err(|_| PeerGone)
    }

    /// Sends what was held back for the next frame, which will not come soon.
    pub async fn say_held(&mut self) -> Result<(), PeerGone> {
        std::future::poll_fn(|cx| self.poll_room(cx)).await
    }

    /// How many bytes of `most` may be read to be sent. Where much waits in this process: few, and only once nothing of
    /// this flow waits.
    pub(crate) async fn room(&self, most: usize) -> usize {
        std::future::poll_fn(|cx| self.unsent.poll_more(cx, most)).await
    }

    /// Waits until there is room for the whole frame. If the future is dropped meanwhile, the rest of the frame goes
    /// before the next one.
    pub async fn send(&mut self, frame: Frame) -> Result<(), PeerGone> {
        std::future::poll_fn(|cx| self.poll_room(cx)).await?;
        self.start(frame)?;
        std::future::poll_fn(|cx| self.poll_room(cx)).await
    }

    /// Ready when the last frame has been taken.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PeerGone>> {
        if let Some(held) = self.held.take() {
            self.begin(held)?;
        }
        while let Some(rest) = &self.rest {
            ready!(self.unsent.poll_fits(cx, rest.remaining()));
            let stream = self.stream.open()?;
            if stream.capacity() == 0 {
                match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(Err(PeerGone)),
                }
            }
            self.push()?;
        }
        Poll::Ready(Ok(()))
    }

    /// After [`Self::poll_room`]: takes a frame, and sends of it what there is room for.
    pub(super) fn start(&mut self, frame: Frame) -> Result<(), PeerGone> {
        self.begin(Piece::message(frame))
    }

    fn begin(&mut self, piece: Piece) -> Result<(), PeerGone> {
        self.meter.add(piece.remaining());
        self.stream.open()?.reserve_capacity(piece.remaining());
        self.rest = Some(piece.counted(&self.unsent));
        self.push()
    }

    fn push(&mut self) -> Result<(), PeerGone> {
        let Some(mut piece) = self.rest.take() else { return Ok(()) };
        let stream = self.stream.open()?;
        let room = if self.unsent.fits(piece.remaining()) { stream.capacity() } else { 0 };
        if room == 0 {
            self.rest = Some(piece);
            return Ok(());
        }
        let now = if room >= piece.remaining() {
            piece
        } else {
            let now = piece.split_to(room);
            self.rest = Some(piece);
            now
        };
        stream.send_data(now, false).map_err(|_| PeerGone)
    }

    /// Ends the call with a status; only an answerer can say one.
    pub fn fail(mut self, status: &Status) {
        self.end(status);
    }

    /// Says that the socket of this side was reset: after what was sent, if that gets on, else by cancelling the call.
    pub(crate) fn reset(&mut self, frame: Frame) {
        let said = self.send(frame).now_or_never();
        if said.is_none() {
            self.ended = true;
            self.stream.reset(SOCKET_RESET);
        }
    }

    /// Completes when the peer has given the call up; says whether because its socket was reset.
    pub async fn given_up(&mut self) -> bool {
        std::future::poll_fn(|cx| self.stream.poll_reset(cx)).await == Some(SOCKET_RESET)
    }

    /// Says that no more frames come.
    pub(super) fn finish(&mut self) {
        self.end(&Status::ok(""));
    }

    fn end(&mut self, status: &Status) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some(held) = self.held.take() {
            let _ = self.begin(held); // as with the rest: a peer that is gone does not need it
        }
        if self.rest.is_some() {
            // half a frame was sent, and nobody waits for room for the rest: the stream cannot go on
            return self.stream.reset(h2::Reason::CANCEL);
        }
        let Ok(stream) = self.stream.open() else { return };
        // in each case: a peer that is gone does not need to hear it
        match self.role {
            Role::Opener => {
                let _ = stream.send_data(Piece::plain(Bytes::new()), true);
            }
            Role::Answerer => {
                let mut trailers = HeaderMap::new();
                if status.add_header(&mut trailers).is_ok() {
                    let _ = stream.send_trailers(trailers);
                }
            }
        }
    }
}

impl Drop for FrameSender {
    fn drop(&mut self) {
        self.finish();
    }
}
