//! An endless stream of bytes that any end can make again from its seed, so that every byte of a transfer is verified.
use std::io::{self, Read, Write};
use std::thread::sleep;
use std::time::Duration;

const CHUNK: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Pattern {
    seed: u64,
    word: u64,
}

impl Pattern {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, word: 0 }
    }

    /// The next bytes of the stream; `into` is a whole number of words except at the very end.
    fn fill(&mut self, into: &mut [u8]) {
        for chunk in into.chunks_mut(8) {
            let mut x = self.seed.wrapping_add(self.word.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            self.word += 1;
            chunk.copy_from_slice(&(x ^ (x >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Writes `bytes` of the stream.
pub(crate) fn write(to: &mut impl Write, bytes: u64, seed: u64) -> io::Result<()> {
    let mut pattern = Pattern::new(seed);
    let mut buffer = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        pattern.fill(&mut buffer[..part]);
        to.write_all(&buffer[..part])?;
        left -= part as u64;
    }
    Ok(())
}

/// Writes the `count` bytes that come after the first `done` (whole words), one at a time and not too fast.
pub(crate) fn drip(to: &mut impl Write, done: u64, count: u64, seed: u64) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
    Pattern { seed, word: done / 8 }.fill(&mut bytes);
    for byte in bytes {
        to.write_all(&[byte])?;
        sleep(Duration::from_micros(100));
    }
    Ok(())
}

/// Reads up to `most` bytes or to the end of the stream, and says how many came and whether all were right.
pub(crate) fn read(from: &mut impl Read, most: u64, seed: u64) -> io::Result<(u64, bool)> {
    let mut pattern = Pattern::new(seed);
    let (mut got, mut want) = (vec![0; CHUNK], vec![0; CHUNK]);
    let (mut total, mut right) = (0, true);
    while total < most {
        let part = usize::try_from(most - total).unwrap_or(CHUNK).min(CHUNK);
        let mut have = 0;
        while have < part {
            match from.read(&mut got[have..part])? {
                0 => break,
                n => have += n,
            }
        }
        pattern.fill(&mut want[..have]);
        right &= got[..have] == want[..have];
        total += have as u64;
        if have < part {
            break;
        }
    }
    Ok((total, right))
}
