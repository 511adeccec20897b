//! Unsigned LEB128, as protobuf writes it.

use bytes::BufMut;

/// Reads one varint off the front of `buf`. `None` if it is cut short or does not fit 64 bits.
pub(super) fn take(buf: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (i, &byte) in buf.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        // the tenth byte may only carry the top bit of 64
        if i == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            *buf = &buf[i + 1..];
            return Some(value);
        }
    }
    None
}

pub(super) fn put(buf: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        buf.put_u8(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    buf.put_u8(value.to_le_bytes()[0]);
}

/// Reads a length-prefixed byte string off the front of `buf`.
pub(super) fn take_bytes<'a>(buf: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take(buf)?).ok()?;
    let (head, tail) = buf.split_at_checked(len)?;
    *buf = tail;
    Some(head)
}

pub(super) fn put_bytes(buf: &mut impl BufMut, bytes: &[u8]) {
    put(buf, bytes.len() as u64);
    buf.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(value: u64, tail: Vec<u8>) {
            let mut buf = Vec::new();
            put(&mut buf, value);
            buf.extend_from_slice(&tail);
            let mut rest = &buf[..];
            prop_assert_eq!(take(&mut rest), Some(value));
            prop_assert_eq!(rest, &tail[..]);
        }

        #[test]
        fn anything_is_read_without_panic(bytes: Vec<u8>) {
            let _ = take(&mut &bytes[..]);
            let _ = take_bytes(&mut &bytes[..]);
        }
    }

    #[test]
    fn too_long_is_refused() {
        assert_eq!(take(&mut &[0xff; 10][..]), None);
        assert_eq!(take(&mut &[0x80, 0x80][..]), None);
        assert_eq!(take(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1][..]), Some(u64::MAX));
    }
}
