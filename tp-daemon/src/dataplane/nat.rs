//! Which flows entered through a VIP, and how long the kernel must remember it. No I/O, no clock.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tp_common::vip::NatKey;

/// The app's kernel may send the last ACK again while its socket is in TIME_WAIT (60 s).
const LINGER: Duration = Duration::from_secs(65);

#[derive(Default)]
pub(super) struct Nat {
    uses: HashMap<NatKey, Use>,
    ended: VecDeque<(Instant, NatKey, u64)>,
    generation: u64,
}

struct Use {
    vip: IpAddr,
    generation: u64,
    living: bool,
}

/// The same app address and port talk to the same cluster address and port, once under another name. In the private
/// namespace the two would be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Conflict;

/// What the map in the kernel must learn before the flow starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    None,
    Set(IpAddr),
    Remove,
}

impl Nat {
    /// A flow starts; `vip` is `None` if it goes to the cluster address itself.
    pub(super) fn start(&mut self, key: NatKey, vip: Option<IpAddr>) -> Result<Change, Conflict> {
        let known = self.uses.get(&key);
        if let Some(known) = known
            && known.living
            && Some(known.vip) != vip
        {
            return Err(Conflict);
        }
        let Some(vip) = vip else {
            return Ok(if self.uses.remove(&key).is_some() { Change::Remove } else { Change::None });
        };
        self.generation += 1;
        self.uses.insert(key, Use { vip, generation: self.generation, living: true });
        Ok(Change::Set(vip))
    }

    /// A flow through a VIP is over.
    pub(super) fn end(&mut self, key: &NatKey, now: Instant) {
        if let Some(known) = self.uses.get_mut(key) {
            known.living = false;
            self.ended.push_back((now + LINGER, *key, known.generation));
        }
    }

    /// The entries to remove from the kernel's map.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<NatKey> {
        let mut over = Vec::new();
        while self.ended.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, key, generation)) = self.ended.pop_front() else { break };
            if self.uses.get(&key).is_some_and(|known| !known.living && known.generation == generation) {
                self.uses.remove(&key);
                over.push(key);
            }
        }
        over
    }

    pub(super) fn is_empty(&self) -> bool {
        self.uses.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use tp_common::Addr;

    use super::*;

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 99, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 99, 0, 2));

    fn key() -> NatKey {
        let app = Addr::from(IpAddr::from([198, 18, 0, 1]));
        let cluster = Addr::from(IpAddr::from([10, 96, 0, 1]));
        NatKey { app, cluster, app_port: 4000, cluster_port: 80, proto: 6, zero: [0; 3] }
    }

    #[test]
    fn an_entry_outlives_its_flow_by_time_wait() {
        let (mut nat, now) = (Nat::default(), Instant::now());
        assert_eq!(nat.start(key(), Some(VIP)), Ok(Change::Set(VIP)));
        nat.end(&key(), now);
        assert_eq!(nat.expire(now + Duration::from_secs(64)), vec![]);
        assert_eq!(nat.expire(now + Duration::from_secs(65)), vec![key()]);
        assert!(nat.is_empty());
    }

    #[test]
    fn a_port_used_again_keeps_its_entry() {
        let (mut nat, now) = (Nat::default(), Instant::now());
        nat.start(key(), Some(VIP)).unwrap();
        nat.end(&key(), now);
        nat.start(key(), Some(VIP)).unwrap();
        assert_eq!(nat.expire(now + Duration::from_secs(100)), vec![]);
        nat.end(&key(), now);
        assert_eq!(nat.expire(now + Duration::from_secs(100)), vec![key()]);
    }

    #[test]
    fn two_names_for_one_flow_conflict_while_the_first_lives() {
        let (mut nat, now) = (Nat::default(), Instant::now());
        nat.start(key(), Some(VIP)).unwrap();
        assert_eq!(nat.start(key(), Some(OTHER)), Err(Conflict));
        assert_eq!(nat.start(key(), None), Err(Conflict));
        nat.end(&key(), now);
        assert_eq!(nat.start(key(), None), Ok(Change::Remove), "or its answers came from the VIP");
        assert_eq!(nat.start(key(), None), Ok(Change::None));
        assert_eq!(nat.start(key(), Some(OTHER)), Ok(Change::Set(OTHER)));
    }
}
