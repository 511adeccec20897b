//! Which of our extensions a peer understands.
//!
//! Telepresence peers ignore bytes after the session id of StreamInfo and after the version of StreamOK (facts §4.2):
//! there our ends say what they can. An extension is used only if both ends offered it.

use bytes::BufMut;

use super::varint;

/// Set of extensions, as bits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Features(u64);

/// "tp", format 1.
const MAGIC: [u8; 3] = [0x74, 0x70, 0x01];

impl Features {
    pub const NONE: Self = Self(0);
    /// Frame HalfClose: "I have no more data, but go on sending".
    pub const HALF_CLOSE: Self = Self(1);
    /// Frame Reset: the connection was reset, not closed.
    pub const RESET: Self = Self(2);
    /// Frame DialError: why the dial failed.
    pub const DIAL_ERROR: Self = Self(4);
    /// Everything this build understands.
    pub const OURS: Self = Self(1 | 2 | 4);

    pub fn has(self, feature: Self) -> bool {
        self.0 & feature.0 == feature.0
    }

    /// What both ends understand.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Appends the trailer; nothing at all for the empty set, so that a plain peer's bytes stay its own.
    pub(super) fn put(self, buf: &mut impl BufMut) {
        if self != Self::NONE {
            buf.put_slice(&MAGIC);
            varint::put(buf, self.0);
        }
    }

    /// Reads what follows the known fields. Anything that is not our trailer means "no extensions".
    pub(super) fn take(rest: &[u8]) -> Self {
        let Some(mut bits) = rest.strip_prefix(&MAGIC) else { return Self::NONE };
        varint::take(&mut bits).map_or(Self::NONE, Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_trailers_offer_nothing() {
        assert_eq!(Features::take(b""), Features::NONE);
        assert_eq!(Features::take(b"\x01\x02"), Features::NONE);
        assert_eq!(Features::take(b"tp\x01"), Features::NONE);
        assert_eq!(Features::take(b"tp\x02\x07"), Features::NONE);
    }

    #[test]
    fn bits_of_a_newer_peer_are_dropped_by_and() {
        let newer = Features::take(b"tp\x01\xff\x01");
        assert_eq!(newer.and(Features::OURS), Features::OURS);
        assert!(newer.has(Features::RESET));
    }
}
