//! What to do with the app's end-of-stream when the peer cannot express a half-close.
//!
//! A Telepresence peer reads our end-of-stream as "close the whole connection" and loses the answer that was still to
//! come (facts §4.6). So towards such a peer the end-of-stream is withheld until the answer has ended, or until the
//! far end has been silent for long enough that it may be waiting for our end itself.

use std::time::{Duration, Instant};

/// Silence of the far end after which a withheld end-of-stream is sent after all.
const SILENCE: Duration = Duration::from_secs(10);

/// How an end-of-stream is passed on to this peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EofPolicy {
    /// The peer understands HalfClose: say it at once.
    HalfClose,
    /// The peer would close everything: withhold.
    Withhold,
}

impl EofPolicy {
    pub fn for_features(common: super::Features) -> Self {
        if common.has(super::Features::HALF_CLOSE) { Self::HalfClose } else { Self::Withhold }
    }
}

/// An end-of-stream that is being withheld.
#[derive(Clone, Copy, Debug)]
pub struct WithheldEof {
    last_heard: Instant,
}

impl WithheldEof {
    pub fn new(now: Instant) -> Self {
        Self { last_heard: now }
    }

    /// Data came from the far end: it is still answering.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    pub fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// When to send the end-of-stream unless more data comes first.
    pub fn deadline(&self) -> Instant {
        self.last_heard + SILENCE
    }
}

#[cfg(test)]
mod tests {
    use super::super::Features;
    use super::*;

    #[test]
    fn an_answer_in_progress_keeps_the_stream_open() {
        let start = Instant::now();
        let mut eof = WithheldEof::new(start);
        eof.heard(start + Duration::from_secs(9));
        assert_eq!(eof.deadline(), start + Duration::from_secs(19));
    }

    #[test]
    fn policy_follows_the_negotiation() {
        assert_eq!(EofPolicy::for_features(Features::OURS), EofPolicy::HalfClose);
        assert_eq!(EofPolicy::for_features(Features::RESET), EofPolicy::Withhold);
    }
}
