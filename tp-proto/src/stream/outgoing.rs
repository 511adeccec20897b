//! The way out of a stream. An answerer's is opened by the first word, so that both leave in one write.

use std::task::{Context, Poll};

use h2::SendStream;
use h2::server::SendResponse;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};

use super::PeerGone;
use crate::http2::Piece;

#[derive(Debug)]
pub(crate) enum Outgoing {
    /// The call has no response yet.
    Silent(SendResponse<Piece>),
    Open(SendStream<Piece>),
}

impl Outgoing {
    /// Answers the call, if that has not been done.
    pub(super) fn open(&mut self) -> Result<&mut SendStream<Piece>, PeerGone> {
        if let Self::Silent(respond) = self {
            let mut response = Response::new(());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            // the other case: the peer has cancelled already
            *self = Self::Open(respond.send_response(response, false).map_err(|_| PeerGone)?);
        }
        match self {
            Self::Open(stream) => Ok(stream),
            Self::Silent(_) => Err(PeerGone),
        }
    }

    /// Ready when the peer has given the stream up, with its reason, or when it has broken.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Option<h2::Reason>> {
        match self {
            Self::Silent(respond) => respond.poll_reset(cx).map(Result::ok),
            Self::Open(stream) => stream.poll_reset(cx).map(Result::ok),
        }
    }

    pub(super) fn reset(&mut self, reason: h2::Reason) {
        match self {
            Self::Silent(respond) => respond.send_reset(reason),
            Self::Open(stream) => stream.send_reset(reason),
        }
    }
}

impl From<SendStream<Piece>> for Outgoing {
    fn from(stream: SendStream<Piece>) -> Self {
        Self::Open(stream)
    }
}

impl From<SendResponse<Piece>> for Outgoing {
    fn from(respond: SendResponse<Piece>) -> Self {
        Self::Silent(respond)
    }
}
