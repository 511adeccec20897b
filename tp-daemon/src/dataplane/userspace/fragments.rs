//! Datagrams that come in several packets, put together. Pure, total, and bounded.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::dataplane::userspace::parse::FRAGMENT;

/// Datagrams of which a part is missing, at the same time.
const MAX_PARTIAL: usize = 64;
/// As kernels have it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest datagram with its header.
const MAX_DATA: usize = 65_535 - 20;
/// Pieces of one datagram: an MTU below 1280 is nobody's.
const MAX_PIECES: usize = 64;

#[derive(Default)]
pub(super) struct Fragments(HashMap<Key, Partial>);

/// Addresses, protocol and identification, as they stand in the header.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key(Vec<u8>);

struct Partial {
    since: Instant,
    data: Vec<u8>,
    pieces: Vec<(usize, usize)>,
    total: Option<usize>,
}

/// What one packet brings.
struct Piece<'a> {
    key: Key,
    /// Of a packet without fragments.
    header: Vec<u8>,
    at: usize,
    data: &'a [u8],
    more: bool,
}

impl Fragments {
    /// The whole packet, once this was its last missing part.
    pub(super) fn add(&mut self, packet: &[u8], now: Instant) -> Option<Vec<u8>> {
        let Piece { key, header, at, data, more } = piece(packet)?;
        let end = at + data.len();
        if end > MAX_DATA || data.is_empty() || (more && !data.len().is_multiple_of(8)) {
            return None;
        }
        if self.0.len() >= MAX_PARTIAL && !self.0.contains_key(&key) {
            let oldest = self.0.iter().min_by_key(|(_, partial)| partial.since).map(|(key, _)| key.clone());
            oldest.map(|key| self.0.remove(&key));
        }
        let partial = self.0.entry(key.clone()).or_insert_with(|| Partial {
            since: now,
            data: Vec::new(),
            pieces: Vec::new(),
            total: None,
        });
        if !partial.put(at, data, more) {
            self.0.remove(&key); // two that contradict each other: neither is to be believed
            return None;
        }
        if !partial.is_whole() {
            return None;
        }
        let partial = self.0.remove(&key)?;
        whole(header, &partial.data)
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.0.retain(|_, partial| now.duration_since(partial.since) < PATIENCE);
    }
}

impl Partial {
    fn put(&mut self, at: usize, data: &[u8], more: bool) -> bool {
        let end = at + data.len();
        if self.pieces.iter().any(|(from, to)| at < *to && *from < end) {
            // sent twice by a kernel it would be the same piece
            return self.pieces.contains(&(at, end));
        }
        let fits = match (more, self.total) {
            (true, Some(total)) => end <= total,
            (false, Some(total)) => end == total,
            (true, None) => true,
            (false, None) => self.pieces.iter().all(|(_, to)| *to <= end),
        };
        if !fits || self.pieces.len() >= MAX_PIECES {
            return false;
        }
        if !more {
            self.total = Some(end);
        }
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[at..end].copy_from_slice(data);
        self.pieces.push((at, end));
        true
    }

    fn is_whole(&self) -> bool {
        // they do not overlap
        self.total.is_some_and(|total| self.pieces.iter().map(|(from, to)| to - from).sum::<usize>() == total)
    }
}

fn piece(packet: &[u8]) -> Option<Piece<'_>> {
    let be16 = |at: usize| Some(u16::from_be_bytes(*packet.get(at..at + 2)?.first_chunk()?));
    match packet.first()? >> 4 {
        4 => {
            let len = usize::from(packet.first()? & 0xf) * 4;
            let field = be16(6)?;
            let key = [packet.get(12..20)?, packet.get(4..6)?, packet.get(9..10)?].concat();
            let mut header = packet.get(..len).filter(|header| header.len() >= 20)?.to_vec();
            header[6..8].fill(0);
            let (at, more) = (usize::from(field & 0x1fff) * 8, field & 0x2000 != 0);
            Some(Piece { key: Key(key), header, at, data: packet.get(len..)?, more })
        }
        6 if *packet.get(6)? == FRAGMENT => {
            let field = be16(42)?;
            let key = [packet.get(8..40)?, packet.get(44..48)?, packet.get(40..41)?].concat();
            let mut header = packet.get(..40)?.to_vec();
            header[6] = *packet.get(40)?;
            let (at, more) = (usize::from(field & 0xfff8), field & 1 != 0);
            Some(Piece { key: Key(key), header, at, data: packet.get(48..)?, more })
        }
        _ => None,
    }
}

/// Only who reads it again will look at the header: its checksum is not renewed.
fn whole(mut header: Vec<u8>, data: &[u8]) -> Option<Vec<u8>> {
    let v4 = header[0] >> 4 == 4;
    let length = u16::try_from(if v4 { header.len() + data.len() } else { data.len() }).ok()?;
    let at = if v4 { 2 } else { 4 };
    header[at..at + 2].copy_from_slice(&length.to_be_bytes());
    header.extend_from_slice(data);
    Some(header)
}

/// A packet of ours that a router would not let through, in parts that it will: each at most `mtu` bytes long.
pub(super) fn split(packet: &[u8], mtu: usize, id: u32) -> Vec<Vec<u8>> {
    let v4 = packet.first().is_some_and(|byte| byte >> 4 == 4);
    let (header, extension) = if v4 { (20, 0) } else { (40, 8) };
    let room = mtu.saturating_sub(header + extension) / 8 * 8;
    let Some((front, data)) = packet.split_at_checked(header).filter(|_| packet.len() > mtu && room > 0)
    else {
        return vec![packet.to_vec()];
    };
    let parts = data.len().div_ceil(room);
    let part = |(n, data): (usize, &[u8])| {
        let (at, more) = (n * room, n + 1 < parts);
        let mut part = front.to_vec();
        if v4 {
            let field = u16::try_from(at / 8).unwrap_or(0) | if more { 0x2000 } else { 0 };
            let length = u16::try_from(header + data.len()).unwrap_or(u16::MAX);
            part[2..4].copy_from_slice(&length.to_be_bytes());
            part[4..6].copy_from_slice(&id.to_be_bytes()[2..]);
            part[6..8].copy_from_slice(&field.to_be_bytes());
            part[10..12].fill(0);
            let sum = crate::dataplane::answer::checksum([&part]);
            part[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            let length = u16::try_from(extension + data.len()).unwrap_or(u16::MAX);
            let field = u16::try_from(at).unwrap_or(0) | u16::from(more);
            part[4..6].copy_from_slice(&length.to_be_bytes());
            part.extend([part[6], 0]);
            part[6] = FRAGMENT;
            part.extend(field.to_be_bytes());
            part.extend(id.to_be_bytes());
        }
        part.extend_from_slice(data);
        part
    };
    data.chunks(room).enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(v4: bool, data: &[u8]) -> Vec<u8> {
        let mut packet = if v4 {
            let mut header = vec![0x45, 0, 0, 0, 0, 7, 0, 0, 64, 17, 0, 0];
            header.extend([10, 0, 0, 1, 10, 96, 0, 5]);
            header
        } else {
            let mut header = vec![0x60, 0, 0, 0, 0, 0, 17, 64];
            header.extend([1; 32]);
            header
        };
        let (at, len) = if v4 { (2, 20 + data.len()) } else { (4, data.len()) };
        packet[at..at + 2].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        packet.extend(data);
        packet
    }

    proptest! {
        #[test]
        fn what_is_split_is_put_together_in_any_order(
            v4: bool,
            len in 1usize..20_000,
            mtu in 1280usize..3000,
            order in any::<u64>(),
        ) {
            let data: Vec<u8> = (0..len).map(|n| (n % 251).to_le_bytes()[0]).collect();
            let sent = packet(v4, &data);
            let mut parts = split(&sent, mtu, 7);
            prop_assert!(parts.iter().all(|part| part.len() <= mtu));
            if parts.len() == 1 {
                prop_assert_eq!(&parts[0], &sent);
                return Ok(());
            }
            let by = usize::try_from(order % parts.len() as u64).unwrap();
            parts.rotate_left(by);
            let twice = parts[0].clone();
            parts.insert(0, twice);
            let mut fragments = Fragments::default();
            let now = Instant::now();
            let whole: Vec<Vec<u8>> = parts.iter().filter_map(|part| fragments.add(part, now)).collect();
            prop_assert_eq!(whole.len(), 1);
            let header = if v4 { 20 } else { 40 };
            prop_assert_eq!(&whole[0][header..], &data[..]);
            prop_assert!(fragments.0.is_empty());
        }
    }

    #[test]
    fn fuzz_any_fragments_are_taken_without_panic() {
        bolero::check!().with_type::<(bool, Vec<Vec<u8>>)>().for_each(|(v4, all)| {
            let mut fragments = Fragments::default();
            for bytes in all {
                let mut bytes = bytes.clone();
                if let Some(first) = bytes.first_mut() {
                    *first = if *v4 { 0x45 } else { 0x60 };
                }
                if let Some(next) = bytes.get_mut(6).filter(|_| !v4) {
                    *next = FRAGMENT;
                }
                fragments.add(&bytes, Instant::now());
                split(&bytes, 60, 1);
                assert!(fragments.0.len() <= MAX_PARTIAL);
            }
        });
    }

    #[test]
    fn what_never_becomes_whole_is_forgotten() {
        let (mut fragments, now) = (Fragments::default(), Instant::now());
        let parts = split(&packet(true, &[1; 3000]), 1500, 7);
        assert_eq!(fragments.add(&parts[0], now), None);
        fragments.expire(now + PATIENCE);
        assert!(fragments.0.is_empty());
    }
}
