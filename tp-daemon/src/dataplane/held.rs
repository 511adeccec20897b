//! The packets that wait for the session's verdict. No I/O, no clock.
//!
//! One entry per flow, whatever the app's kernel sends again meanwhile. An entry stays, without its packets, while
//! the flow lives: a copy of the SYN that comes late must not start the flow once more. Only while an admitted SYN has
//! not become a connection, it may have been lost on its way, and a copy takes its place.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tp_common::recursion::MAX_HELD_NS;
use tp_core::flow::Flow;

/// Flows that may wait at the same time.
const MAX_HELD: usize = 4096;
/// Datagrams kept of a flow that waits.
const MAX_KEPT: usize = 16;
/// Bytes of all that is held.
const MAX_BYTES: usize = 32 << 20;
/// The kernel programs count on it.
const MAX_WAIT: Duration = Duration::from_nanos(MAX_HELD_NS);
/// A copy of a SYN that comes so soon after its refusal was sent before the app heard of that: kernels wait for a
/// second before they send a SYN again.
const LATE: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(super) struct Held {
    entries: HashMap<Flow, Entry>,
    /// Those that were refused lately; as many as may wait.
    refused: VecDeque<(Instant, Flow, Id)>,
    waiting: usize,
    bytes: usize,
    last_id: u64,
}

/// Tells two lives of the same 5-tuple apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Id(u64);

struct Entry {
    id: Id,
    /// When the first packet came, or when the flow was refused.
    since: Instant,
    /// Of the SYN; `None` for UDP.
    seq: Option<u32>,
    /// With their virtio headers; empty once there is a verdict.
    packets: Vec<Vec<u8>>,
    refused: bool,
    /// Its connection is there.
    connected: bool,
}

/// What to do with a packet that came out of the TUN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// A new flow: ask the session.
    Ask(Id),
    /// A copy of a SYN that is held.
    Retransmit,
    /// A copy of a SYN that has become a connection, or was refused a moment ago.
    Decided,
    /// A copy of a SYN that was admitted, and may have been lost since: write it back.
    Again,
    /// Another datagram of a flow that waits.
    Kept,
    KeptTooMany,
    /// A datagram of a flow that was admitted meanwhile: write it back.
    Late,
    TooManyHeld,
}

impl Held {
    pub(super) fn on_packet(&mut self, flow: Flow, seq: Option<u32>, raw: &[u8], now: Instant) -> Verdict {
        match self.entries.get_mut(&flow) {
            Some(entry) if entry.packets.is_empty() => match seq {
                None => return Verdict::Late,
                Some(_) if entry.seq == seq && !entry.refused && !entry.connected => return Verdict::Again,
                Some(_) if entry.seq == seq && !(entry.refused && now.duration_since(entry.since) > LATE) => {
                    return Verdict::Decided;
                }
                Some(_) => {} // the app uses its port again
            },
            Some(entry) if seq.is_some() => {
                if entry.seq != seq {
                    entry.seq = seq; // it gave up and tries again: the same question to the session
                    self.bytes = self.bytes - entry.packets[0].len() + raw.len();
                    entry.packets[0] = raw.to_vec();
                }
                return Verdict::Retransmit;
            }
            Some(entry) => {
                if entry.packets.len() >= MAX_KEPT || self.bytes + raw.len() > MAX_BYTES {
                    return Verdict::KeptTooMany;
                }
                self.bytes += raw.len();
                entry.packets.push(raw.to_vec());
                return Verdict::Kept;
            }
            None => {}
        }
        if self.waiting >= MAX_HELD || self.bytes + raw.len() > MAX_BYTES {
            return Verdict::TooManyHeld;
        }
        self.last_id += 1;
        let id = Id(self.last_id);
        self.entries.insert(
            flow,
            Entry { id, since: now, seq, packets: vec![raw.to_vec()], refused: false, connected: false },
        );
        self.waiting += 1;
        self.bytes += raw.len();
        Verdict::Ask(id)
    }

    /// The packets of a flow that is admitted now; `None` if its time was up.
    pub(super) fn admit(&mut self, flow: &Flow, id: Id) -> Option<Vec<Vec<u8>>> {
        let entry = self.entries.get_mut(flow).filter(|entry| entry.id == id && !entry.packets.is_empty())?;
        let packets = std::mem::take(&mut entry.packets);
        self.left(&packets);
        Some(packets)
    }

    /// The connection of an admitted SYN is there.
    pub(super) fn connected(&mut self, flow: &Flow, id: Id) {
        if let Some(entry) = self.entries.get_mut(flow).filter(|entry| entry.id == id) {
            entry.connected = true;
        }
    }

    /// The packets of a flow that still waits. It is forgotten, but for a SYN that is answered at `answered`: a copy may
    /// be on its way.
    pub(super) fn refuse(&mut self, flow: &Flow, id: Id, answered: Option<Instant>) -> Option<Vec<Vec<u8>>> {
        let packets = self.admit(flow, id)?;
        match (answered, self.entries.get_mut(flow)) {
            (Some(now), Some(entry)) if entry.seq.is_some() && self.refused.len() < MAX_HELD => {
                entry.since = now;
                entry.refused = true;
                self.refused.push_back((now, *flow, id));
            }
            _ => drop(self.entries.remove(flow)),
        }
        Some(packets)
    }

    /// The flow is over, or could not be started after all.
    pub(super) fn forget(&mut self, flow: &Flow, id: Id) {
        if self.entries.get(flow).is_some_and(|entry| entry.id == id)
            && let Some(entry) = self.entries.remove(flow)
        {
            self.left(&entry.packets);
        }
    }

    /// Drops what nobody decided about; how many.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        while let Some((_, flow, id)) = self.refused.pop_front_if(|(at, ..)| now.duration_since(*at) > LATE) {
            self.forget(&flow, id);
        }
        if self.waiting == 0 {
            return 0;
        }
        let too_old =
            |entry: &Entry| !entry.packets.is_empty() && now.duration_since(entry.since) >= MAX_WAIT;
        let old: Vec<(Flow, Id)> = self
            .entries
            .iter()
            .filter(|(_, entry)| too_old(entry))
            .map(|(flow, entry)| (*flow, entry.id))
            .collect();
        for (flow, id) in &old {
            self.forget(flow, *id);
        }
        old.len()
    }

    fn left(&mut self, packets: &[Vec<u8>]) {
        if !packets.is_empty() {
            self.waiting -= 1;
            self.bytes -= packets.iter().map(Vec::len).sum::<usize>();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tp_core::addr::{AppAddr, DestAddr};
    use tp_core::flow::Proto;

    use super::*;

    fn flow(port: u16, proto: Proto) -> Flow {
        let app = AppAddr::new(Ipv4Addr::LOCALHOST, port);
        Flow { app, dest: DestAddr::new(Ipv4Addr::new(10, 96, 0, 1), 80), proto }
    }

    fn ask(verdict: Verdict) -> Id {
        match verdict {
            Verdict::Ask(id) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_question_per_syn_however_often_it_is_sent() {
        let (mut held, now, flow) = (Held::default(), Instant::now(), flow(1, Proto::Tcp));
        let id = ask(held.on_packet(flow, Some(7), b"syn", now));
        assert_eq!(held.on_packet(flow, Some(7), b"syn", now), Verdict::Retransmit);
        assert_eq!(held.admit(&flow, id), Some(vec![b"syn".to_vec()]));
        assert_eq!(held.on_packet(flow, Some(7), b"syn", now), Verdict::Again, "the first may be lost");
        held.connected(&flow, id);
        assert_eq!(held.on_packet(flow, Some(7), b"syn", now), Verdict::Decided, "a late copy");
        let again = ask(held.on_packet(flow, Some(8), b"syn2", now));
        held.forget(&flow, id);
        assert_eq!(
            held.admit(&flow, again),
            Some(vec![b"syn2".to_vec()]),
            "the old life's end is not the new one's"
        );
    }

    #[test]
    fn an_app_that_tries_again_is_answered_about_its_last_try() {
        let (mut held, now, flow) = (Held::default(), Instant::now(), flow(1, Proto::Tcp));
        let id = ask(held.on_packet(flow, Some(7), b"old", now));
        assert_eq!(held.on_packet(flow, Some(9), b"newer", now), Verdict::Retransmit);
        assert_eq!(held.refuse(&flow, id, None), Some(vec![b"newer".to_vec()]));
        assert_eq!(held.bytes, 0);
        assert_eq!(held.waiting, 0);
    }

    #[test]
    fn a_copy_that_was_on_its_way_when_its_syn_was_refused_asks_nothing() {
        let (mut held, now, flow) = (Held::default(), Instant::now(), flow(1, Proto::Tcp));
        let id = ask(held.on_packet(flow, Some(7), b"syn", now));
        held.refuse(&flow, id, Some(now)).unwrap();
        assert_eq!(held.on_packet(flow, Some(7), b"syn", now + LATE), Verdict::Decided);
        ask(held.on_packet(flow, Some(8), b"another try", now));
        assert_eq!(held.expire(now + LATE * 2), 0, "that is its own life");
        assert_eq!(held.waiting, 1);
        assert!(held.refused.is_empty());
    }

    #[test]
    fn a_copy_long_after_the_refusal_was_not_heard_of_asks_again() {
        let (mut held, now, flow) = (Held::default(), Instant::now(), flow(1, Proto::Tcp));
        let id = ask(held.on_packet(flow, Some(7), b"syn", now));
        held.refuse(&flow, id, Some(now)).unwrap();
        let again = ask(held.on_packet(flow, Some(7), b"syn", now + LATE * 2));
        held.refuse(&flow, again, None).unwrap();
        ask(held.on_packet(flow, Some(7), b"syn", now + LATE * 2)); // silence is no answer
    }

    #[test]
    fn datagrams_wait_with_the_first_one_up_to_a_bound() {
        let (mut held, now, flow) = (Held::default(), Instant::now(), flow(1, Proto::Udp));
        let id = ask(held.on_packet(flow, None, &[0], now));
        for n in 1..16 {
            assert_eq!(held.on_packet(flow, None, &[n], now), Verdict::Kept);
        }
        assert_eq!(held.on_packet(flow, None, &[16], now), Verdict::KeptTooMany);
        let packets = held.admit(&flow, id).unwrap();
        assert_eq!(packets.concat(), (0..16).collect::<Vec<u8>>(), "in order");
        assert_eq!(held.on_packet(flow, None, &[17], now), Verdict::Late);
        held.forget(&flow, id);
        ask(held.on_packet(flow, None, &[18], now));
    }

    #[test]
    fn what_nobody_decides_about_is_dropped_in_the_end() {
        let (mut held, now, flow) = (Held::default(), Instant::now(), flow(1, Proto::Tcp));
        let id = ask(held.on_packet(flow, Some(7), b"syn", now));
        assert_eq!(held.expire(now + MAX_WAIT - Duration::from_secs(1)), 0);
        assert_eq!(held.expire(now + MAX_WAIT), 1);
        assert_eq!(held.admit(&flow, id), None);
        assert_eq!(held.bytes, 0);
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut held, now) = (Held::default(), Instant::now());
        for port in 0..4096 {
            ask(held.on_packet(flow(port, Proto::Tcp), Some(1), b"syn", now));
        }
        assert_eq!(held.on_packet(flow(5000, Proto::Tcp), Some(1), b"syn", now), Verdict::TooManyHeld);
        let big = vec![0; MAX_BYTES];
        assert_eq!(held.on_packet(flow(5001, Proto::Udp), None, &big, now), Verdict::TooManyHeld);
    }
}
