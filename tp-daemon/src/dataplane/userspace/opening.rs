//! The SYN of an app as smoltcp gets it: with a segment size of which two fit into what the app has room for, as Linux
//! bounds its own (tcp_bound_to_half_wnd).
//!
//! A kernel offers more room once a segment fits into it beside what it has offered before. To an app that has room for
//! just one it offers a last byte over and over, and smoltcp sends the rest byte by byte.

use smoltcp::wire::{TcpOption, TcpPacket};

use crate::dataplane::packet;

/// What everybody takes (RFC 9293, 3.7.1).
const LEAST: u16 = 536;

/// The packet with another segment size, if it needs one.
pub(super) fn bounded(packet: &[u8]) -> Option<Vec<u8>> {
    let transport = packet::layout(packet)?.transport;
    let segment = TcpPacket::new_checked(packet.get(transport..)?).ok()?;
    let most = (segment.window_len() / 2).max(LEAST);
    let mut options = segment.options();
    while !options.is_empty() {
        let (rest, option) = TcpOption::parse(options).ok()?;
        if let TcpOption::MaxSegmentSize(asked) = option {
            let end = transport + usize::from(segment.header_len()) - rest.len();
            let mut packet = packet.to_vec();
            packet.get_mut(end - 2..end)?.copy_from_slice(&most.to_be_bytes());
            return (asked > most).then_some(packet);
        }
        options = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syn(v4: bool, window: u16, options: &[u8]) -> Vec<u8> {
        let mut packet = if v4 {
            let len = u8::try_from(40 + options.len()).unwrap();
            vec![0x45, 0, 0, len, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 96, 0, 5]
        } else {
            let len = u8::try_from(20 + options.len()).unwrap();
            [&[0x60, 0, 0, 0, 0, len, 6, 64][..], &[0xfd; 32]].concat()
        };
        packet.extend([0x0f, 0xa0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0]);
        packet.extend([u8::try_from(5 + options.len() / 4).unwrap() << 4, 2]);
        packet.extend(window.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend(options);
        packet
    }

    fn asking_for(size: u16) -> Vec<u8> {
        let size = size.to_be_bytes();
        vec![1, 1, 4, 2, 2, 4, size[0], size[1], 1, 3, 3, 7]
    }

    #[test]
    fn two_segments_fit_into_the_room_of_the_app() {
        for (window, asked, expected) in [
            (15_940, 15_940, Some(7970)),
            (63_840, 15_960, None),
            (31_920, 15_960, None),
            (31_919, 15_960, Some(15_959)),
            (16_000, 1460, None),
            (1152, 1460, Some(576)),
            (0, 1460, Some(536)),
            (0, 536, None),
            (0, 500, None),
        ] {
            for v4 in [true, false] {
                let expected = expected.map(|size| syn(v4, window, &asking_for(size)));
                assert_eq!(bounded(&syn(v4, window, &asking_for(asked))), expected, "{asked} of {window}");
            }
        }
    }

    #[test]
    fn what_asks_for_nothing_or_cannot_be_read_stays_as_it_is() {
        assert_eq!(bounded(&syn(true, 0, &[])), None);
        assert_eq!(bounded(&syn(true, 0, &[1, 1, 1, 0])), None);
        assert_eq!(bounded(&syn(true, 0, &[2, 3, 9, 9])), None);
        let whole = syn(false, 0, &asking_for(9000));
        for len in 0..whole.len() {
            assert_eq!(bounded(&whole[..len]), None, "{len}");
        }
    }
}
