//! What `tp bench` and the sink it measures against say to each other.
//!
//! TCP: the first byte says what the connection is for, all others belong to that. No mode needs a half-closed
//! connection, which not every way into a cluster carries. UDP: every datagram comes back as it is.

/// What one write of a bulk transfer carries: enough that system calls are not what is measured.
pub const BLOCK: usize = 256 * 1024;

/// In [`Mode::Turns`]: the last one.
pub const LAST_TURN: u8 = 0;

/// What a TCP connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// `d`: counts what comes until its end, answers with the count (8 bytes, big-endian) and closes.
    Discard,
    /// `b`: the same, but the end is said by [`Blocks`].
    Blocks,
    /// `s`: sends until the peer says anything more, or closes.
    Source,
    /// `e`: sends back what comes.
    Echo,
    /// `t`: the same, but it closes after a byte of [`LAST_TURN`]. Whoever closes first keeps the port for a minute; the
    /// one that opens a thousand connections in a second must not be the one.
    Turns,
}

impl Mode {
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            b'd' => Self::Discard,
            b'b' => Self::Blocks,
            b's' => Self::Source,
            b'e' => Self::Echo,
            b't' => Self::Turns,
            _ => return None,
        })
    }

    pub const fn byte(self) -> u8 {
        match self {
            Self::Discard => b'd',
            Self::Blocks => b'b',
            Self::Source => b's',
            Self::Echo => b'e',
            Self::Turns => b't',
        }
    }
}

/// Reads blocks: 4 bytes of length (big-endian), then as many of anything. An empty block is the end.
#[derive(Clone, Default, Debug)]
pub struct Blocks {
    header: [u8; 4],
    /// Of the header.
    have: usize,
    /// Of the block.
    left: usize,
    count: u64,
    ended: bool,
}

impl Blocks {
    /// Everything that has come so far, headers included.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes the next bytes, wherever they were cut; true when the end was among them. What follows the end is not read.
    pub fn feed(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() && !self.ended {
            let taken = if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                taken
            } else {
                let taken = (self.header.len() - self.have).min(bytes.len());
                self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
                self.have += taken;
                if self.have == self.header.len() {
                    self.have = 0;
                    self.left = u32::from_be_bytes(self.header) as usize;
                    self.ended = self.left == 0;
                }
                taken
            };
            self.count += taken as u64;
            bytes = &bytes[taken..];
        }
        self.ended
    }

    /// A block of [`BLOCK`] bytes, header included.
    pub fn block() -> Vec<u8> {
        let mut block = vec![0x5a; BLOCK];
        let length = u32::try_from(BLOCK - 4).unwrap_or_default();
        block[..4].copy_from_slice(&length.to_be_bytes());
        block
    }

    /// The end.
    pub const END: [u8; 4] = [0; 4];
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_byte_is_one_mode_or_none() {
        let known: Vec<Mode> = (0..=u8::MAX).filter_map(Mode::from_byte).collect();
        assert_eq!(known.len(), 5);
        for mode in known {
            assert_eq!(Mode::from_byte(mode.byte()), Some(mode));
        }
    }

    proptest! {
        #[test]
        fn blocks_are_read_the_same_however_they_are_cut(
            lengths in prop::collection::vec(1usize..600, 0..8),
            cuts in prop::collection::vec(1usize..300, 1..40),
            after in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let mut sent = Vec::new();
            for length in lengths {
                sent.extend(u32::try_from(length).unwrap().to_be_bytes());
                sent.extend(vec![0; length]);
            }
            sent.extend(Blocks::END);
            let counted = sent.len() as u64;
            sent.extend(after);
            let mut blocks = Blocks::default();
            let (mut rest, mut ended) = (&sent[..], false);
            for cut in cuts.iter().cycle() {
                let cut = (*cut).min(rest.len());
                ended = blocks.feed(&rest[..cut]);
                rest = &rest[cut..];
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert!(ended);
            prop_assert_eq!(blocks.count(), counted);
        }
    }

    #[test]
    fn fuzz_any_bytes_are_fine() {
        bolero::check!().with_type::<Vec<Vec<u8>>>().for_each(|pieces| {
            let mut blocks = Blocks::default();
            let sent: usize = pieces.iter().map(Vec::len).sum();
            for piece in pieces {
                blocks.feed(piece);
            }
            assert!(blocks.count() <= sent as u64);
        });
    }

    #[test]
    fn a_block_is_read_as_one() {
        let mut blocks = Blocks::default();
        assert!(!blocks.feed(&Blocks::block()));
        assert!(blocks.feed(&Blocks::END));
        assert_eq!(blocks.count(), BLOCK as u64 + 4);
    }
}
