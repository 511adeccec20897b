//! From received bytes to frames. Total: any input gives frames or an error. Data of a byte stream is handed on as it
//! comes, before the message that carries it is complete.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use tp_core::tunnel::{Frame, FrameError};

use crate::client::MAX_MESSAGE;
use crate::manager::TunnelMessage;

/// Length of the gRPC prefix: whether the message is compressed, and its length.
const PREFIX: usize = 5;
/// `TunnelMessage.payload`: field 1, wire type 2.
const KEY: u8 = 0x0a;
const NORMAL: u8 = 0;

#[derive(Debug)]
pub(super) struct Unframe {
    /// Received and not looked at.
    chunk: Bytes,
    /// The beginning of a message whose end has not come. If it is not empty, `chunk` is empty.
    partial: BytesMut,
    /// Of a message of data, the bytes that are still to come.
    data: usize,
    /// Each message is one datagram: hand on only whole ones.
    pub(super) whole: bool,
    /// Longest message, in bytes.
    pub(super) limit: usize,
}

impl Default for Unframe {
    fn default() -> Self {
        let (chunk, partial) = (Bytes::new(), BytesMut::new());
        Self { chunk, partial, data: 0, whole: false, limit: MAX_MESSAGE }
    }
}

/// What the beginning of a message says.
enum Head {
    Incomplete,
    /// Nothing but data: it begins at this offset, and is so long.
    Data(usize, usize),
    /// Anything else, or a datagram: its length, prefix included.
    Other(usize),
}

impl Unframe {
    /// To be called only after [`Self::next`] gave nothing.
    pub(super) fn push(&mut self, data: Bytes) {
        if self.partial.is_empty() && self.chunk.is_empty() {
            self.chunk = data;
        } else {
            self.partial.extend_from_slice(&std::mem::take(&mut self.chunk));
            self.partial.extend_from_slice(&data);
        }
    }

    /// The next frame, if enough has been received.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if self.data > 0 {
                let len = self.data.min(self.chunk.len());
                if len == 0 {
                    return Ok(None);
                }
                self.data -= len;
                return Ok(Some(Frame::Normal(self.chunk.split_to(len))));
            }
            let received = if self.partial.is_empty() { &self.chunk[..] } else { &self.partial[..] };
            match self.head(received)? {
                Head::Incomplete => return Ok(None),
                Head::Data(at, len) => {
                    if !self.partial.is_empty() {
                        self.chunk = std::mem::take(&mut self.partial).freeze();
                    }
                    self.chunk.advance(at);
                    self.data = len;
                }
                Head::Other(len) if received.len() < len => return Ok(None),
                Head::Other(len) => {
                    if !self.partial.is_empty() {
                        self.chunk = std::mem::take(&mut self.partial).freeze();
                    }
                    let mut message = self.chunk.split_to(len);
                    message.advance(PREFIX);
                    let message =
                        TunnelMessage::decode(message).map_err(|_| FrameError::Truncated("message"))?;
                    return Frame::decode(message.payload).map(Some);
                }
            }
        }
    }

    fn head(&self, received: &[u8]) -> Result<Head, FrameError> {
        let Some((prefix, message)) = received.split_at_checked(PREFIX) else { return Ok(Head::Incomplete) };
        let [compressed, len @ ..] = prefix else { return Ok(Head::Incomplete) };
        let len = len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
        if *compressed != 0 {
            return Err(FrameError::Compressed);
        }
        if len > self.limit {
            return Err(FrameError::TooLong(len));
        }
        let other = Head::Other(PREFIX + len);
        if self.whole || message.first().is_some_and(|key| *key != KEY) || len == 0 {
            return Ok(other);
        }
        // the field's length, which tells whether anything else is in the message
        let mut payload = 0;
        for (index, byte) in message.iter().enumerate().skip(1) {
            if index > 4 {
                return Ok(other); // longer than any message
            }
            payload |= usize::from(byte & 0x7f) << (7 * (index - 1));
            if byte & 0x80 != 0 {
                continue;
            }
            let at = index + 1;
            return Ok(match message.get(at) {
                _ if at + payload != len || payload == 0 => other,
                None => Head::Incomplete,
                Some(&NORMAL) if payload > 1 => Head::Data(PREFIX + at + 1, payload - 1),
                Some(_) => other,
            });
        }
        // without its length: if the message is complete, it is for the decoder to complain
        Ok(if message.len() >= len { other } else { Head::Incomplete })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::Piece;
    use proptest::prelude::*;

    fn encoded(frame: Frame) -> Vec<u8> {
        let mut piece = Piece::message(frame);
        piece.copy_to_bytes(piece.remaining()).to_vec()
    }

    fn read(unframe: &mut Unframe, bytes: &[u8], cuts: &[usize]) -> Result<Vec<Frame>, FrameError> {
        let (mut frames, mut rest, mut cuts) = (Vec::new(), bytes, cuts.iter().cycle());
        while !rest.is_empty() {
            let len = cuts.next().map_or(rest.len(), |cut| cut % rest.len() + 1);
            let (now, later) = rest.split_at(len);
            unframe.push(Bytes::copy_from_slice(now));
            while let Some(frame) = unframe.next()? {
                frames.push(frame);
            }
            rest = later;
        }
        Ok(frames)
    }

    /// As one would read them aloud: data joined, everything else in its place.
    fn joined(frames: &[Frame]) -> Vec<Frame> {
        let mut all: Vec<Frame> = Vec::new();
        for frame in frames {
            match (all.last_mut(), frame) {
                (_, Frame::Normal(data)) if data.is_empty() => {}
                (Some(Frame::Normal(before)), Frame::Normal(data)) => {
                    *before = [&before[..], &data[..]].concat().into();
                }
                _ => all.push(frame.clone()),
            }
        }
        all
    }

    fn frame() -> impl Strategy<Value = Frame> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..400).prop_map(|data| Frame::Normal(data.into())),
            Just(Frame::DialOk),
            Just(Frame::HalfClose),
            "[a-z]{0,200}".prop_map(Frame::Session),
        ]
    }

    proptest! {
        #[test]
        fn a_byte_stream_survives_any_cut(frames in prop::collection::vec(frame(), 0..8), cuts: Vec<usize>) {
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| encoded(frame.clone())).collect();
            let got = read(&mut Unframe::default(), &bytes, &cuts).unwrap();
            prop_assert_eq!(joined(&got), joined(&frames));
        }

        #[test]
        fn datagrams_stay_whole(frames in prop::collection::vec(frame(), 0..8), cuts: Vec<usize>) {
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| encoded(frame.clone())).collect();
            let mut unframe = Unframe { whole: true, ..Unframe::default() };
            prop_assert_eq!(read(&mut unframe, &bytes, &cuts).unwrap(), frames);
        }

        /// Mostly plausible, so that it comes further than the prefix.
        #[test]
        fn total_behind_a_prefix(len in 0u8..20, bytes: Vec<u8>, cuts: Vec<usize>, whole: bool) {
            let bytes = [&[0, 0, 0, 0, len, KEY], &bytes[..]].concat();
            let _ = read(&mut Unframe { whole, ..Unframe::default() }, &bytes, &cuts);
        }
    }

    /// A datagram is given out whole, so both ways to read agree however the bytes are cut.
    #[test]
    fn fuzz_any_bytes_in_any_pieces() {
        bolero::check!().with_type::<(Vec<u8>, Vec<usize>)>().for_each(|(bytes, cuts)| {
            let frames = |whole, cuts| read(&mut Unframe { whole, ..Unframe::default() }, bytes, cuts);
            let (whole, parts) = (frames(true, cuts), frames(false, cuts));
            assert_eq!(whole, frames(true, &[]));
            if let (Ok(whole), Ok(parts)) = (whole, parts) {
                assert!(joined(&parts).len() >= joined(&whole).len());
            }
        });
    }

    #[test]
    fn data_does_not_wait_for_the_end_of_its_message() {
        let bytes = encoded(Frame::Normal(Bytes::from_static(b"hello")));
        let mut unframe = Unframe::default();
        unframe.push(bytes[..bytes.len() - 2].to_vec().into());
        assert_eq!(unframe.next(), Ok(Some(Frame::Normal(Bytes::from_static(b"hel")))));
        assert_eq!(unframe.next(), Ok(None));
        unframe.push(bytes[bytes.len() - 2..].to_vec().into());
        assert_eq!(unframe.next(), Ok(Some(Frame::Normal(Bytes::from_static(b"lo")))));
    }

    #[test]
    fn unknown_fields_beside_the_payload_are_skipped() {
        // field 2 = 1 behind a payload of two bytes of data
        let message = [0x0a, 3, 0, b'h', b'i', 0x10, 1];
        let bytes = [&[0, 0, 0, 0, 7][..], &message].concat();
        let got = read(&mut Unframe::default(), &bytes, &[]).unwrap();
        assert_eq!(got, [Frame::Normal(Bytes::from_static(b"hi"))]);
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let mut unframe = Unframe::default();
        unframe.push(Bytes::from_static(&[1, 0, 0, 0, 0]));
        assert_eq!(unframe.next(), Err(FrameError::Compressed));
        let mut unframe = Unframe::default();
        unframe.push(Bytes::from_static(&[0, 0xff, 0, 0, 0]));
        assert_eq!(unframe.next(), Err(FrameError::TooLong(0xff00_0000)));
        let mut unframe = Unframe::default();
        unframe.push(Bytes::from_static(&[0, 0, 0, 0, 0]));
        assert_eq!(unframe.next(), Err(FrameError::Empty));
    }
}
