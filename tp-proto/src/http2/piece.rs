//! What is sent: one gRPC message, or a part of one, in two pieces that are written with one system call.

use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes};
use tp_core::tunnel::Frame;

use super::unsent::{Share, Unsent};

/// gRPC prefix (5), protobuf key (1) and length (5 for what 32 bits can say), code of the frame (1).
pub(super) const HEAD: usize = 12;

/// `TunnelMessage.payload`: field 1, wire type 2.
const KEY: u8 = 0x0a;

/// A short head and a body that is not copied.
#[derive(Debug)]
pub struct Piece {
    head: [u8; HEAD],
    at: u8,
    end: u8,
    body: Bytes,
    unsent: Option<Share>,
}

impl Piece {
    /// Bytes as they are.
    pub fn plain(body: Bytes) -> Self {
        Self { head: [0; HEAD], at: 0, end: 0, body, unsent: None }
    }

    /// A frame as the gRPC message `TunnelMessage` (facts/telepresence-wire.md §4.1).
    pub fn message(frame: Frame) -> Self {
        let (code, body) = match frame {
            Frame::Normal(data) => (Some(0), data),
            small => (None, small.encode()),
        };
        let payload = usize::from(code.is_some()) + body.len();
        let mut head = [0; HEAD];
        let mut rest = &mut head[5..];
        let before = rest.len();
        rest.put_u8(KEY);
        // no frame of ours is longer than a datagram: five bytes are enough for the length
        prost::encoding::encode_varint(payload as u64, &mut rest);
        let field = before - rest.len();
        if let Some(code) = code {
            rest.put_u8(code);
        }
        let end = HEAD - rest.len();
        let len = u32::try_from(field + payload).unwrap_or(u32::MAX);
        head[1..5].copy_from_slice(&len.to_be_bytes());
        Self { head, at: 0, end: u8::try_from(end).unwrap_or(u8::MAX), body, unsent: None }
    }

    /// Counted there until it is written.
    pub(crate) fn counted(mut self, unsent: &Unsent) -> Self {
        self.unsent = Some(unsent.add(self.remaining()));
        self
    }

    /// The first `len` bytes, which leave this piece.
    pub(crate) fn split_to(&mut self, len: usize) -> Self {
        let head = usize::from(self.end - self.at).min(len);
        let (at, end) = (self.at, self.at + u8::try_from(head).unwrap_or(u8::MAX));
        self.at = end;
        let unsent = self.unsent.as_mut().map(|share| share.split(len));
        Self { head: self.head, at, end, body: self.body.split_to(len - head), unsent }
    }

    fn head(&self) -> &[u8] {
        self.head.get(usize::from(self.at)..usize::from(self.end)).unwrap_or_default()
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.head().len() + self.body.len()
    }

    fn chunk(&self) -> &[u8] {
        if self.at < self.end { self.head() } else { &self.body }
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let parts = [self.head(), &self.body[..]];
        let filled = parts.into_iter().filter(|part| !part.is_empty()).zip(dst.iter_mut());
        filled.map(|(part, slot)| *slot = IoSlice::new(part)).count()
    }

    fn advance(&mut self, cnt: usize) {
        let head = self.head().len().min(cnt);
        self.at += u8::try_from(head).unwrap_or(u8::MAX);
        self.body.advance(cnt - head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    use crate::manager::TunnelMessage;

    fn flat(mut piece: Piece) -> Vec<u8> {
        let mut all = Vec::new();
        while piece.has_remaining() {
            let len = piece.chunk().len();
            all.extend_from_slice(piece.chunk());
            piece.advance(len);
        }
        all
    }

    #[test]
    fn vector() {
        assert_eq!(flat(Piece::message(Frame::DialOk)), [0, 0, 0, 0, 3, 0x0a, 1, 4]);
        let hi = Piece::message(Frame::Normal(Bytes::from_static(b"hi")));
        assert_eq!(flat(hi), [0, 0, 0, 0, 5, 0x0a, 3, 0, b'h', b'i']);
    }

    /// Segments of a TCP packet as the kernel makes them (below 64 KiB, less its headers): of Ethernet, and of the way to an app.
    #[test]
    fn a_whole_read_is_one_packet() {
        let piece = Piece::message(Frame::Normal(vec![0; tp_core::tunnel::MAX_DATA].into()));
        let frame_header = 9;
        assert!(frame_header + piece.remaining() <= 45 * 1448, "{}", piece.remaining());
        assert!(piece.body.len() <= 4 * 15_948, "{}", piece.body.len());
    }

    proptest! {
        #[test]
        fn what_prost_reads_is_what_was_meant(data: Vec<u8>, cuts: Vec<usize>) {
            let frame = Frame::Normal(data.into());
            let mut piece = Piece::message(frame.clone());
            let mut all = Vec::new();
            for cut in cuts {
                let cut = cut.checked_rem(piece.remaining() + 1).unwrap_or_default();
                all.extend(flat(piece.split_to(cut)));
            }
            all.extend(flat(piece));
            prop_assert_eq!(all[0], 0);
            prop_assert_eq!(u32::from_be_bytes(all[1..5].try_into().unwrap()) as usize, all.len() - 5);
            let read = TunnelMessage::decode(&all[5..]).unwrap();
            prop_assert_eq!(Frame::decode(read.payload), Ok(frame));
        }

        #[test]
        fn vectored_is_the_same(data: Vec<u8>, skip in 0usize..14) {
            let mut piece = Piece::message(Frame::Normal(data.into()));
            piece.advance(skip.min(piece.remaining()));
            let mut slots = [IoSlice::new(&[]); 4];
            let count = piece.chunks_vectored(&mut slots);
            let vectored: Vec<u8> = slots[..count].iter().flat_map(|slot| slot.to_vec()).collect();
            prop_assert_eq!(vectored, flat(piece));
        }
    }
}
