//! What an app says beside bytes for which there is no room: what it has got, and how much more it takes.
//!
//! RFC 9293 (3.10.7.4) wants that heard also where the window is zero. smoltcp (0.14) hears nothing in a segment outside the
//! window that it has told last, and that window is rounded: its edge moves back by some bytes now and then (RFC 7323, 2.4). An
//! app that had filled it then stands behind it, and with the rings of both directions full neither end would hear of the
//! other again.

use crate::dataplane::packet;

const FLAGS: usize = 13;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Whether a ring of that size with so much in it is told as full: a window is 16 bits, and the rest is rounded away.
pub(super) fn is_full(ring: usize, queued: usize) -> bool {
    ring.saturating_sub(queued) < (ring >> 15).max(1)
}

/// The packet without its bytes and its end, at `seq`. None of a packet that opens or resets, or acknowledges nothing.
pub(super) fn acknowledgment(packet: &[u8], seq: u32) -> Option<Vec<u8>> {
    let transport = packet::layout(packet)?.transport;
    let segment = packet.get(transport..)?;
    let header = usize::from(segment.get(12)? >> 4) * 4;
    if segment.get(FLAGS)? & (SYN | RST | ACK) != ACK {
        return None;
    }
    let mut bare = packet.get(..transport + header)?.to_vec();
    let (total, place) = match packet.first()? >> 4 {
        4 => (bare.len(), 2),
        _ => (bare.len().checked_sub(40)?, 4),
    };
    bare.get_mut(place..place + 2)?.copy_from_slice(&u16::try_from(total).ok()?.to_be_bytes());
    bare.get_mut(transport + 4..transport + 8)?.copy_from_slice(&seq.to_be_bytes());
    *bare.get_mut(transport + FLAGS)? &= !FIN;
    Some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u8::try_from(40 + payload.len()).unwrap();
        let mut packet = vec![0x45, 0, 0, len, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 96, 0, 5];
        packet.extend([0x0f, 0xa0, 0, 80, 0, 0, 0, 9, 0, 0, 0, 7, 0x50, flags, 1, 2, 0, 0, 0, 0]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn what_is_acknowledged_stays_and_the_rest_goes() {
        let mut bare = v4(ACK, b"");
        bare[24..28].copy_from_slice(&[0, 0, 0, 5]);
        for packet in [v4(ACK, b"bytes"), v4(ACK | FIN, b"bytes"), v4(ACK | FIN, b""), v4(ACK, b"")] {
            assert_eq!(acknowledgment(&packet, 5), Some(bare.clone()));
        }
        for flags in [SYN, SYN | ACK, RST, RST | ACK, 0] {
            assert_eq!(acknowledgment(&v4(flags, b"bytes"), 5), None);
        }
    }

    #[test]
    fn a_ring_is_full_when_its_window_is_told_as_zero() {
        for (ring, queued, full) in [
            (256 << 10, (256 << 10) - 7, true),
            (256 << 10, (256 << 10) - 8, false),
            (32 << 10, (32 << 10) - 1, false),
            (32 << 10, 32 << 10, true),
        ] {
            assert_eq!(is_full(ring, queued), full, "{queued} of {ring}");
        }
    }

    #[test]
    fn fuzz_any_packet_is_taken_apart_without_panic() {
        bolero::check!().for_each(|packet: &[u8]| drop(acknowledgment(packet, 1)));
    }
}
