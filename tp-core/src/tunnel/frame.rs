//! One message of a tunnel stream (facts §4.1): a code byte and a body.

use bytes::{BufMut, Bytes, BytesMut};

use super::stream_info::{StreamInfo, StreamOk};
use super::{ConnIdError, varint};
use crate::dial::DialError;

/// Everything that can stand in `TunnelMessage.payload`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Data. TCP: any split of the byte stream. UDP: one datagram.
    Normal(Bytes),
    StreamInfo(StreamInfo),
    StreamOk(StreamOk),
    /// The sender has no more data; a Telepresence peer reads it as the end of the whole stream.
    CloseSend,
    DialOk,
    DialReject,
    /// Hard stop, e.g. the far end's idle expiry.
    Disconnect,
    /// Resets the receiver's idle timer.
    KeepAlive,
    /// Client session id, from an agent on an intercept tunnel.
    Session(String),
    /// Ours, feature HALF_CLOSE: no more data from the sender, the other direction stays open.
    HalfClose,
    /// Ours, feature RESET: the connection was reset.
    Reset,
    /// Ours, feature DIAL_ERROR: why the dial failed; DialReject follows.
    DialError(DialError, String),
    /// A code that we do not know, kept so that a pipe can forward it untouched.
    Unknown(u8, Bytes),
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    #[error("empty tunnel message")]
    Empty,
    #[error("{0} is cut short")]
    Truncated(&'static str),
    #[error("{0} is not UTF-8")]
    Text(&'static str),
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    #[error("a compressed message, which nobody offered to understand")]
    Compressed,
    #[error("malformed ConnID: {0}")]
    ConnId(#[from] ConnIdError),
}

const NORMAL: u8 = 0;
const STREAM_INFO: u8 = 1;
const STREAM_OK: u8 = 2;
const CLOSE_SEND: u8 = 3;
const DIAL_OK: u8 = 4;
const DIAL_REJECT: u8 = 5;
const DISCONNECT: u8 = 6;
const KEEP_ALIVE: u8 = 7;
const SESSION: u8 = 8;
// Telepresence skips codes that it does not know; 64 and up leave it room to grow.
const HALF_CLOSE: u8 = 64;
const RESET: u8 = 65;
const DIAL_ERROR: u8 = 66;

impl Frame {
    /// The payload. Never empty: an empty one crashes a Telepresence peer (facts §0.2.2).
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len_hint());
        self.put(&mut out);
        out.freeze()
    }

    /// Appends the payload to `out`, for codecs that own the buffer.
    pub fn put(&self, out: &mut impl BufMut) {
        match self {
            Self::Normal(data) => {
                out.put_u8(NORMAL);
                out.put_slice(data);
            }
            Self::StreamInfo(info) => {
                out.put_u8(STREAM_INFO);
                info.put(out);
            }
            Self::StreamOk(ok) => {
                out.put_u8(STREAM_OK);
                ok.put(out);
            }
            Self::CloseSend => out.put_u8(CLOSE_SEND),
            Self::DialOk => out.put_u8(DIAL_OK),
            Self::DialReject => out.put_u8(DIAL_REJECT),
            Self::Disconnect => out.put_u8(DISCONNECT),
            Self::KeepAlive => out.put_u8(KEEP_ALIVE),
            Self::Session(id) => {
                out.put_u8(SESSION);
                out.put_slice(id.as_bytes());
            }
            Self::HalfClose => out.put_u8(HALF_CLOSE),
            Self::Reset => out.put_u8(RESET),
            Self::DialError(cause, text) => {
                out.put_u8(DIAL_ERROR);
                varint::put(out, cause.code());
                out.put_slice(text.as_bytes());
            }
            Self::Unknown(code, body) => {
                out.put_u8(*code);
                out.put_slice(body);
            }
        }
    }

    /// Total: any input gives a frame or an error. Data is a slice of `payload`, not a copy.
    pub fn decode(mut payload: Bytes) -> Result<Self, FrameError> {
        let Some(&code) = payload.first() else { return Err(FrameError::Empty) };
        let body = payload.split_off(1);
        Ok(match code {
            NORMAL => Self::Normal(body),
            STREAM_INFO => Self::StreamInfo(StreamInfo::decode(&body)?),
            STREAM_OK => Self::StreamOk(StreamOk::decode(&body)?),
            CLOSE_SEND => Self::CloseSend,
            DIAL_OK => Self::DialOk,
            DIAL_REJECT => Self::DialReject,
            DISCONNECT => Self::Disconnect,
            KEEP_ALIVE => Self::KeepAlive,
            SESSION => {
                Self::Session(String::from_utf8(body.to_vec()).map_err(|_| FrameError::Text("session id"))?)
            }
            HALF_CLOSE => Self::HalfClose,
            RESET => Self::Reset,
            DIAL_ERROR => {
                let rest = &mut &body[..];
                let cause = varint::take(rest).ok_or(FrameError::Truncated("DialError"))?;
                Self::DialError(DialError::from_code(cause), String::from_utf8_lossy(rest).into_owned())
            }
            code => Self::Unknown(code, body),
        })
    }

    fn encoded_len_hint(&self) -> usize {
        match self {
            Self::Normal(data) | Self::Unknown(_, data) => 1 + data.len(),
            _ => 128,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream_info::tests::hex;
    use super::*;
    use crate::addr::{AppAddr, ClusterAddr};
    use crate::flow::Proto;
    use crate::tunnel::{ConnId, Features};
    use std::time::Duration;

    fn info(source: &str, dest: &str, proto: Proto, session: &str, latency: u64, dial: u64) -> StreamInfo {
        StreamInfo {
            id: ConnId {
                source: AppAddr(source.parse().unwrap()),
                destination: ClusterAddr(dest.parse().unwrap()),
                proto,
            },
            session: session.into(),
            roundtrip_latency: Duration::from_secs(latency),
            dial_timeout: Duration::from_secs(dial),
            features: Features::NONE,
        }
    }

    /// facts/telepresence-wire.md, appendix A, produced by the real Go code.
    #[test]
    fn vectors() {
        let session = "0b9c1d4e-1111-2222-3333-444455556666";
        for (frame, payload) in [
            (
                Frame::StreamInfo(info("10.1.2.3:45678", "10.96.0.10:8080", Proto::Tcp, session, 2, 3)),
                "010280a8d6b90780bcc1960b0d0a010203b26e0a60000a1f90062430623963316434652d313131312d323232322d333333332d343434343535353536363636",
            ),
            (
                Frame::StreamInfo(info("[fd00::1]:45678", "[fd00::2]:53", Proto::Udp, "s1", 4, 3)),
                "010280d0acf30e80bcc1960b25fd000000000000000000000000000001b26efd000000000000000000000000000002003511027331",
            ),
            (Frame::StreamOk(StreamOk { features: Features::NONE }), "0202"),
            (Frame::Normal(Bytes::from_static(b"hi")), "006869"),
            (Frame::Session("abc".into()), "08616263"),
            (Frame::CloseSend, "03"),
            (Frame::DialOk, "04"),
            (Frame::DialReject, "05"),
            (Frame::Disconnect, "06"),
            (Frame::KeepAlive, "07"),
        ] {
            assert_eq!(frame.encode(), hex(payload), "{frame:?}");
            assert_eq!(Frame::decode(hex(payload).into()), Ok(frame));
        }
    }

    #[test]
    fn our_trailers_survive_and_follow_the_known_fields() {
        let plain = info("10.1.2.3:1", "10.96.0.10:2", Proto::Tcp, "s", 2, 3);
        let ours = StreamInfo { features: Features::OURS, ..plain.clone() };
        let bytes = Frame::StreamInfo(ours.clone()).encode();
        assert!(bytes.starts_with(&Frame::StreamInfo(plain).encode()));
        assert_eq!(Frame::decode(bytes), Ok(Frame::StreamInfo(ours)));
        let ok = Frame::StreamOk(StreamOk { features: Features::OURS });
        assert_eq!(ok.encode()[..], hex("020274700107"));
        assert_eq!(Frame::decode(ok.encode()), Ok(ok));
    }

    /// A Go peer sent version 9 and trailing bytes in the facts' tests; both are to be ignored.
    #[test]
    fn a_newer_version_is_accepted() {
        assert_eq!(
            Frame::decode(Bytes::from_static(&[2, 9, 1, 2])),
            Ok(Frame::StreamOk(StreamOk { features: Features::NONE }))
        );
    }

    #[test]
    fn malformed() {
        assert_eq!(Frame::decode(Bytes::new()), Err(FrameError::Empty));
        assert_eq!(Frame::decode(Bytes::from_static(&[1, 2])), Err(FrameError::Truncated("StreamInfo")));
        assert_eq!(Frame::decode(Bytes::from_static(&[2])), Err(FrameError::Truncated("StreamOK")));
        assert_eq!(
            Frame::decode(Bytes::from_static(&[1, 2, 0, 0, 3, 1, 2, 3, 0])),
            Err(FrameError::ConnId(ConnIdError::Length(3)))
        );
        assert_eq!(Frame::decode(Bytes::from_static(&[8, 0xff])), Err(FrameError::Text("session id")));
    }

    #[test]
    fn fuzz_any_payload_is_read_and_means_the_same_when_written_again() {
        bolero::check!().for_each(|payload: &[u8]| {
            if let Ok(frame) = Frame::decode(Bytes::copy_from_slice(payload)) {
                assert!(!frame.encode().is_empty());
                assert_eq!(Frame::decode(frame.encode()), Ok(frame));
            }
        });
    }
}
