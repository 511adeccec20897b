//! Which UDP flows live, and for how long: conntrack's rule, with a bound.
//!
//! A flow is over when nothing has been seen for a while: a short one until the far end has answered, a longer one
//! after. The kernel programs note when they saw a flow last, so its deadline is only a promise to look again: a
//! busy flow costs one look per idle time, not one update per datagram.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::flow::Flow;

/// How many flows there may be, and how long they may be idle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub max_flows: usize,
    pub idle_unanswered: Duration,
    pub idle_answered: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_flows: 4096,
            idle_unanswered: Duration::from_secs(30),
            idle_answered: Duration::from_secs(180),
        }
    }
}

/// What is known of a flow when its deadline has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The last datagram either way, on the same clock as `now`.
    pub last: Duration,
    /// Whether the far end has sent anything yet.
    pub answered: bool,
}

/// There are already as many flows as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// The living flows. Times are durations on one monotonic clock.
#[derive(Debug)]
pub struct UdpFlows {
    limits: Limits,
    deadlines: HashMap<Flow, Duration>,
    by_deadline: BTreeSet<(Duration, Flow)>,
}

impl UdpFlows {
    pub fn new(limits: Limits) -> Self {
        Self { limits, deadlines: HashMap::new(), by_deadline: BTreeSet::new() }
    }

    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    /// A new flow, or a known one that starts over.
    pub fn insert(&mut self, flow: Flow, now: Duration) -> Result<(), Full> {
        if !self.deadlines.contains_key(&flow) && self.deadlines.len() >= self.limits.max_flows {
            return Err(Full);
        }
        self.set(flow, now + self.limits.idle_unanswered);
        Ok(())
    }

    pub fn remove(&mut self, flow: &Flow) {
        if let Some(deadline) = self.deadlines.remove(flow) {
            self.by_deadline.remove(&(deadline, *flow));
        }
    }

    /// When to call [`UdpFlows::expire`] next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out the flows that are over. `seen` is asked about every flow whose deadline has come; `None` means
    /// that nobody knows it any more.
    pub fn expire(&mut self, now: Duration, mut seen: impl FnMut(&Flow) -> Option<Seen>) -> Vec<Flow> {
        let mut over = Vec::new();
        while let Some((deadline, flow)) = self.by_deadline.first().copied().filter(|(at, _)| *at <= now) {
            let next = seen(&flow).map(|seen| seen.last + self.idle(seen.answered));
            match next {
                Some(next) if next > now => self.set(flow, next),
                _ => {
                    self.by_deadline.remove(&(deadline, flow));
                    self.deadlines.remove(&flow);
                    over.push(flow);
                }
            }
        }
        over
    }

    fn idle(&self, answered: bool) -> Duration {
        if answered { self.limits.idle_answered } else { self.limits.idle_unanswered }
    }

    fn set(&mut self, flow: Flow, deadline: Duration) {
        if let Some(old) = self.deadlines.insert(flow, deadline) {
            self.by_deadline.remove(&(old, flow));
        }
        self.by_deadline.insert((deadline, flow));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::addr::{AppAddr, DestAddr};
    use crate::flow::Proto;

    const SECOND: Duration = Duration::from_secs(1);

    fn flow(port: u16) -> Flow {
        Flow {
            app: AppAddr::new(Ipv4Addr::LOCALHOST, port),
            dest: DestAddr::new(Ipv4Addr::new(10, 96, 0, 10), 53),
            proto: Proto::Udp,
        }
    }

    #[test]
    fn an_unanswered_flow_ends_before_an_answered_one() {
        let mut flows = UdpFlows::new(Limits::default());
        flows.insert(flow(1), SECOND).unwrap();
        flows.insert(flow(2), SECOND).unwrap();
        let seen = |f: &Flow| Some(Seen { last: SECOND, answered: f.app.port() == 2 });
        assert_eq!(flows.expire(SECOND * 30, seen), vec![]);
        assert_eq!(flows.expire(SECOND * 31, seen), vec![flow(1)]);
        assert_eq!(flows.expire(SECOND * 180, seen), vec![]);
        assert_eq!(flows.expire(SECOND * 181, seen), vec![flow(2)]);
        assert!(flows.is_empty());
    }

    #[test]
    fn traffic_keeps_a_flow_alive() {
        let mut flows = UdpFlows::new(Limits::default());
        flows.insert(flow(1), SECOND).unwrap();
        for second in 1..1000 {
            let now = SECOND * second;
            assert_eq!(flows.expire(now, |_| Some(Seen { last: now, answered: true })), vec![]);
        }
        assert_eq!(flows.len(), 1);
    }

    #[test]
    fn a_full_table_takes_no_new_flow_but_keeps_the_old_ones() {
        let mut flows = UdpFlows::new(Limits { max_flows: 1, ..Limits::default() });
        flows.insert(flow(1), SECOND).unwrap();
        assert_eq!(flows.insert(flow(2), SECOND), Err(Full));
        assert_eq!(flows.insert(flow(1), SECOND * 2), Ok(()));
        flows.remove(&flow(1));
        assert_eq!(flows.insert(flow(2), SECOND), Ok(()));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u16),
        Remove(u16),
        Traffic(u16, bool),
        Wait(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u16..8).prop_map(Step::Insert),
            (0u16..8).prop_map(Step::Remove),
            (0u16..8, any::<bool>()).prop_map(|(port, answered)| Step::Traffic(port, answered)),
            (0u32..100).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Against a model that looks at every flow all the time.
        #[test]
        fn a_flow_lives_exactly_as_long_as_the_rule_says(steps in proptest::collection::vec(step(), 1..200)) {
            let limits = Limits { max_flows: 5, ..Limits::default() };
            let mut flows = UdpFlows::new(limits);
            let mut model: HashMap<Flow, Seen> = HashMap::new();
            let mut now = SECOND;
            for step in steps {
                match step {
                    Step::Insert(port) => {
                        let expected = model.contains_key(&flow(port)) || model.len() < limits.max_flows;
                        prop_assert_eq!(flows.insert(flow(port), now).is_ok(), expected);
                        if expected {
                            model.insert(flow(port), Seen { last: now, answered: false });
                        }
                    }
                    Step::Remove(port) => {
                        flows.remove(&flow(port));
                        model.remove(&flow(port));
                    }
                    Step::Traffic(port, answers) => {
                        if let Some(seen) = model.get_mut(&flow(port)) {
                            seen.last = now;
                            seen.answered |= answers;
                        }
                    }
                    Step::Wait(seconds) => now += SECOND * seconds,
                }
                let mut over = flows.expire(now, |flow| model.get(flow).copied());
                over.sort();
                let mut expected: Vec<Flow> = model
                    .iter()
                    .filter(|(_, seen)| now >= seen.last + flows.idle(seen.answered))
                    .map(|(flow, _)| *flow)
                    .collect();
                expected.sort();
                prop_assert_eq!(&over, &expected);
                for flow in &over {
                    model.remove(flow);
                }
                prop_assert_eq!(flows.len(), model.len());
            }
        }
    }
}
