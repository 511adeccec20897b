//! SPDY/3.1 frames, as far as a port-forward has them. No I/O; total on whatever comes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Of every frame.
pub(super) const HEADER: usize = 8;

/// The first half of a control frame's first four bytes; the second half is its kind.
const CONTROL: u32 = 0x8003;
const SYN_STREAM: u32 = 1;
const SYN_REPLY: u32 = 2;
const RST_STREAM: u32 = 3;
const PING: u32 = 6;
const GOAWAY: u32 = 7;
const FIN: u8 = 1;

/// What the other end has said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    Reply(u32),
    Data(u32, Bytes),
    /// No more data on this stream.
    Fin(u32),
    Reset(u32),
    Ping(u32),
    GoAway,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the API server does not speak SPDY/3.1")]
pub(super) struct Malformed;

/// Makes events of the bytes in `buffer`.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) buffer: BytesMut,
    rest: Rest,
}

/// What of the present frame has not come yet.
#[derive(Clone, Copy, Debug)]
enum Rest {
    /// The next one begins.
    Nothing,
    Data {
        stream: u32,
        left: usize,
        fin: bool,
    },
    /// Nobody wants to know it.
    Skip(usize),
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self { buffer: BytesMut::new(), rest: Rest::Nothing }
    }

    /// Whether the other end may stop here.
    pub(super) fn is_between_frames(&self) -> bool {
        self.buffer.is_empty() && matches!(self.rest, Rest::Nothing | Rest::Skip(0))
    }

    /// `None`: more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Event>, Malformed> {
        loop {
            match self.rest {
                Rest::Skip(left) => {
                    let here = left.min(self.buffer.len());
                    self.buffer.advance(here);
                    if here < left {
                        self.rest = Rest::Skip(left - here);
                        return Ok(None);
                    }
                    self.rest = Rest::Nothing;
                }
                Rest::Data { stream, left: 0, fin } => {
                    self.rest = Rest::Nothing;
                    if fin {
                        return Ok(Some(Event::Fin(stream)));
                    }
                }
                Rest::Data { stream, left, fin } => {
                    if self.buffer.is_empty() {
                        return Ok(None);
                    }
                    let here = left.min(self.buffer.len());
                    self.rest = Rest::Data { stream, left: left - here, fin };
                    return Ok(Some(Event::Data(stream, self.buffer.split_to(here).freeze())));
                }
                Rest::Nothing => {
                    let Some(mut header) = self.buffer.get(..HEADER) else { return Ok(None) };
                    let (first, flags) = (header.get_u32(), header.get_u8());
                    let length = usize::try_from(header.get_uint(3)).map_err(|_| Malformed)?;
                    if first >> 31 == 0 {
                        self.buffer.advance(HEADER);
                        self.rest = Rest::Data { stream: first, left: length, fin: flags & FIN != 0 };
                        continue;
                    }
                    match self.control(first, flags, length)? {
                        Control::Incomplete => return Ok(None),
                        Control::Said(event) => return Ok(Some(event)),
                        Control::Ignored => {}
                    }
                }
            }
        }
    }

    fn control(&mut self, first: u32, flags: u8, length: usize) -> Result<Control, Malformed> {
        let (version, kind) = (first >> 16, first & 0xffff);
        if version != CONTROL {
            return Err(Malformed);
        }
        if !matches!(kind, SYN_REPLY | RST_STREAM | PING | GOAWAY) {
            self.buffer.advance(HEADER);
            self.rest = Rest::Skip(length);
            return Ok(Control::Ignored);
        }
        // each of these begins with the stream, or with what stands in its place
        if length < 4 {
            return Err(Malformed);
        }
        let Some(mut number) = self.buffer.get(HEADER..HEADER + 4) else { return Ok(Control::Incomplete) };
        let number = number.get_u32();
        self.buffer.advance(HEADER + 4);
        self.rest = Rest::Skip(length - 4);
        Ok(Control::Said(match kind {
            PING => Event::Ping(number),
            GOAWAY => Event::GoAway,
            RST_STREAM => Event::Reset(number & 0x7fff_ffff),
            // a stream may end as it begins; there is no such port-forward
            _ if flags & FIN != 0 => Event::Fin(number & 0x7fff_ffff),
            _ => Event::Reply(number & 0x7fff_ffff),
        }))
    }
}

enum Control {
    Incomplete,
    Said(Event),
    Ignored,
}

/// Opens both streams of the port-forward to `port`. We send nothing on the first.
pub(super) fn open(error: u32, data: u32, port: u16) -> Vec<u8> {
    let mut out = Vec::new();
    for (stream, kind, flags) in [(error, "error", FIN), (data, "data", 0)] {
        let mut names = Vec::new();
        names.put_u32(3);
        for text in ["streamtype", kind, "port", &port.to_string(), "requestid", "0"] {
            names.put_uint(text.len() as u64, 4);
            names.put_slice(text.as_bytes());
        }
        let mut payload = Vec::new();
        payload.put_u32(stream);
        payload.put_u32(0); // belongs to no other stream
        payload.put_u16(0); // priority
        if out.is_empty() {
            // one zlib stream for all headers of the connection, not compressed: a stored block, then an empty one to flush
            payload.put_slice(&[0x78, 0x01]);
        }
        for block in [&names[..], &[]] {
            let [low, high, ..] = (block.len() as u64).to_le_bytes();
            payload.put_slice(&[0, low, high, !low, !high]);
            payload.put_slice(block);
        }
        out.put_u32(CONTROL << 16 | SYN_STREAM);
        out.put_u8(flags);
        out.put_uint(payload.len() as u64, 3);
        out.extend(payload);
    }
    out
}

/// The header of `len` bytes of data, below 16 MiB.
pub(super) fn data(stream: u32, len: usize, fin: bool) -> [u8; HEADER] {
    let [a, b, c, d] = stream.to_be_bytes();
    let [.., x, y, z] = (len as u64).to_be_bytes();
    [a, b, c, d, if fin { FIN } else { 0 }, x, y, z]
}

/// The answer to a ping is the ping.
pub(super) fn ping(id: u32) -> [u8; HEADER + 4] {
    let mut frame = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 0];
    frame[HEADER..].copy_from_slice(&id.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All events of `bytes`, fed in pieces of `step`; neighbouring data joined.
    fn events(bytes: &[u8], step: usize) -> Result<Vec<Event>, Malformed> {
        let (mut incoming, mut out) = (Incoming::new(), Vec::new());
        for piece in bytes.chunks(step.max(1)) {
            incoming.buffer.extend_from_slice(piece);
            while let Some(event) = incoming.next()? {
                match (out.last_mut(), event) {
                    (Some(Event::Data(stream, before)), Event::Data(same, more)) if *stream == same => {
                        *before = [&before[..], &more[..]].concat().into();
                    }
                    (_, event) => out.push(event),
                }
            }
        }
        Ok(out)
    }

    #[test]
    fn vectors() {
        let frame =
            [0x80, 3, 0, 2, 0, 0, 0, 10, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 2];
        assert_eq!(events(&frame, 64), Ok(vec![Event::Reply(3), Event::Ping(2)]));
        assert_eq!(ping(2)[..], frame[18..]);
        assert_eq!(data(3, 0x01_02_03, true), [0, 0, 0, 3, 1, 1, 2, 3]);
        let unknown = [0x80, 3, 0, 4, 0, 0, 0, 1, 9, 0, 0, 0, 3, 1, 0, 0, 1, 7];
        assert_eq!(events(&unknown, 64), Ok(vec![Event::Data(3, vec![7].into()), Event::Fin(3)]));
        assert_eq!(
            events(b"HTTP/1.1 400 Bad Request", 64).map(|_| ()),
            Ok(()),
            "a data frame that never ends"
        );
        assert_eq!(events(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 2], 64), Err(Malformed));
    }

    /// As Go's zlib reads it: no dictionary, stored blocks only.
    #[test]
    fn the_first_header_block() {
        let open = open(1, 3, 8081);
        assert_eq!(open[..8], [0x80, 3, 0, 1, FIN, 0, 0, open[7]]);
        let block = &open[18..8 + usize::from(open[7])];
        assert_eq!(block[..3], [0x78, 1, 0]);
        let len = usize::from(u16::from_le_bytes([block[3], block[4]]));
        assert_eq!(block[7..11], [0, 0, 0, 3]);
        assert_eq!(&block[11..29], b"\0\0\0\x0astreamtype\0\0\0\x05");
        assert_eq!(block[7 + len..], [0, 0, 0, 0xff, 0xff]);
    }

    #[test]
    fn fuzz_any_bytes_are_read_the_same_in_any_pieces() {
        bolero::check!().with_type::<(Vec<u8>, u8)>().for_each(|(bytes, step)| {
            assert_eq!(events(bytes, usize::from(*step)), events(bytes, usize::MAX));
        });
    }

    proptest! {
        #[test]
        fn frames_in_any_pieces(frames: Vec<(u8, Vec<u8>, bool)>, step in 1_usize..40) {
            let (mut bytes, mut want) = (Vec::new(), Vec::new());
            for (stream, payload, fin) in frames {
                let stream = u32::from(stream);
                bytes.extend(data(stream, payload.len(), fin));
                bytes.extend(&payload);
                bytes.extend(ping(stream));
                if !payload.is_empty() {
                    want.push(Event::Data(stream, payload.into()));
                }
                if fin {
                    want.push(Event::Fin(stream));
                }
                want.push(Event::Ping(stream));
            }
            prop_assert_eq!(events(&bytes, step).unwrap(), want);
        }
    }
}
