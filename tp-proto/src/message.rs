//! `TunnelMessage{1: bytes payload}` by hand: a frame is written straight into the HTTP/2 buffer, and received data
//! stays a slice of it. The generated type would copy every payload once more in each direction.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{
    DecodeContext, WireType, decode_varint, encode_varint, encoded_len_varint, skip_field,
};
use prost::{DecodeError, Message};
use tp_core::tunnel::{Frame, FrameError};

/// One message of a tunnel stream. `Default` is the empty payload, which may be received but is never sent.
#[derive(Clone, PartialEq, Debug)]
pub enum TunnelMessage {
    /// To be sent.
    Frame(Frame),
    /// As received, not yet looked at.
    Payload(Bytes),
}

/// Field 1, wire type 2.
const KEY: u8 = 0x0a;

impl TunnelMessage {
    pub fn into_frame(self) -> Result<Frame, FrameError> {
        match self {
            Self::Frame(frame) => Ok(frame),
            Self::Payload(payload) => Frame::decode(payload),
        }
    }
}

impl From<Frame> for TunnelMessage {
    fn from(frame: Frame) -> Self {
        match frame {
            // the only large one: kept as it is, written in two pieces
            Frame::Normal(_) => Self::Frame(frame),
            small => Self::Payload(small.encode()),
        }
    }
}

impl Default for TunnelMessage {
    fn default() -> Self {
        Self::Payload(Bytes::new())
    }
}

impl TunnelMessage {
    fn payload_len(&self) -> usize {
        match self {
            Self::Frame(Frame::Normal(data)) => 1 + data.len(),
            Self::Frame(frame) => frame.encode().len(),
            Self::Payload(payload) => payload.len(),
        }
    }
}

impl Message for TunnelMessage {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        let len = self.payload_len();
        if len == 0 {
            return;
        }
        buf.put_u8(KEY);
        encode_varint(len as u64, buf);
        match self {
            Self::Frame(frame) => frame.put(buf),
            Self::Payload(payload) => buf.put_slice(payload),
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag != 1 || wire_type != WireType::LengthDelimited {
            return skip_field(wire_type, tag, buf, ctx);
        }
        let mut payload = Bytes::new();
        let len = usize::try_from(decode_varint(buf)?).unwrap_or(usize::MAX);
        if len <= buf.remaining() {
            payload = buf.copy_to_bytes(len);
        } else {
            // prost offers no public constructor for its errors: let its own decoder say that the buffer is short
            prost::encoding::bytes::merge(WireType::LengthDelimited, &mut payload, &mut &[1u8][..], ctx)?;
        }
        *self = Self::Payload(payload);
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        match self.payload_len() {
            0 => 0,
            len => 1 + encoded_len_varint(len as u64) + len,
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tp_core::tunnel::{Features, StreamOk};

    /// facts/telepresence-wire.md, appendix A.
    #[test]
    fn vector() {
        let message = TunnelMessage::from(Frame::StreamOk(StreamOk { features: Features::NONE }));
        assert_eq!(message.encode_to_vec(), [0x0a, 0x02, 0x02, 0x02]);
    }

    #[test]
    fn a_length_beyond_the_message_is_an_error() {
        assert!(TunnelMessage::decode(&[0x0a, 0x05, 0x00][..]).is_err());
        assert!(
            TunnelMessage::decode(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1][..])
                .is_err()
        );
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let message = TunnelMessage::decode(&[0x10, 0x01, 0x0a, 0x01, 0x04][..]).unwrap();
        assert_eq!(message.into_frame(), Ok(Frame::DialOk));
    }

    proptest! {
        #[test]
        fn data_round_trip(data: Vec<u8>) {
            let frame = Frame::Normal(data.into());
            let message = TunnelMessage::from(frame.clone());
            let bytes = message.encode_to_vec();
            prop_assert_eq!(bytes.len(), message.encoded_len());
            prop_assert_eq!(TunnelMessage::decode(&bytes[..]).unwrap().into_frame(), Ok(frame));
        }

        #[test]
        fn total(bytes: Vec<u8>) {
            if let Ok(message) = TunnelMessage::decode(&bytes[..]) {
                let _ = message.into_frame();
            }
        }
    }
}
