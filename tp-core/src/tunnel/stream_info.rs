//! The handshake frames: StreamInfo opens a tunnel stream, StreamOK answers it (facts §4.2).

use std::time::Duration;

use bytes::{BufMut, Bytes};

use super::{ConnId, Features, FrameError, VERSION, varint};

/// First message of a tunnel stream, from its opener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamInfo {
    pub id: ConnId,
    /// Session of the client (or of the agent, for a stream that an agent opens).
    pub session: String,
    pub roundtrip_latency: Duration,
    /// How long the far end may try to dial.
    pub dial_timeout: Duration,
    pub features: Features,
}

/// First answer on a tunnel stream. It is sent before the session has been checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamOk {
    pub features: Features,
}

/// The Go decoder reads durations with an 8-byte scratch: 2^56 ns is the end (facts §4.2).
const MAX_NANOS: u64 = (1 << 56) - 1;

impl StreamInfo {
    pub(super) fn put(&self, out: &mut impl BufMut) {
        varint::put(out, VERSION);
        varint::put(out, nanos(self.roundtrip_latency));
        varint::put(out, nanos(self.dial_timeout));
        varint::put_bytes(out, &self.id.encode());
        varint::put_bytes(out, self.session.as_bytes());
        self.features.put(out);
    }

    pub(super) fn decode(body: &Bytes) -> Result<Self, FrameError> {
        let rest = &mut &body[..];
        let short = || FrameError::Truncated("StreamInfo");
        let _version = varint::take(rest).ok_or_else(short)?;
        let roundtrip_latency = varint::take(rest).ok_or_else(short)?;
        let dial_timeout = varint::take(rest).ok_or_else(short)?;
        let id = ConnId::decode(varint::take_bytes(rest).ok_or_else(short)?)?;
        let session = varint::take_bytes(rest).ok_or_else(short)?;
        Ok(Self {
            id,
            session: String::from_utf8(session.to_vec()).map_err(|_| FrameError::Text("session id"))?,
            roundtrip_latency: Duration::from_nanos(roundtrip_latency.min(MAX_NANOS)),
            dial_timeout: Duration::from_nanos(dial_timeout.min(MAX_NANOS)),
            features: Features::take(rest),
        })
    }
}

impl StreamOk {
    pub(super) fn put(self, out: &mut impl BufMut) {
        varint::put(out, VERSION);
        self.features.put(out);
    }

    pub(super) fn decode(body: &Bytes) -> Result<Self, FrameError> {
        let rest = &mut &body[..];
        varint::take(rest).ok_or(FrameError::Truncated("StreamOK"))?;
        Ok(Self { features: Features::take(rest) })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(MAX_NANOS).min(MAX_NANOS)
}

#[cfg(test)]
pub(super) mod tests {
    pub(in crate::tunnel) fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }
}
