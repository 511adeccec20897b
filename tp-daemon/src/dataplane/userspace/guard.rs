//! The recursion guard: a flow that came out of the tunnel must not go into it again.
//!
//! The kernel programs see by which interface a packet was forwarded. Whoever reads the TUN does not: here the kernel is
//! asked where the sender is, and connection tracking who he was before his address was translated.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tp_common::recursion::{MAX_HELD_NS, MAX_RECURSION};
use tp_core::addr::{AppAddr, DestAddr};
use tp_core::flow::{Flow, Proto};
use tp_core::machine::RouteKind;

use crate::dataplane::dump::RecursionRow;
use crate::dataplane::maps::lock;
use crate::dataplane::userspace::conntrack;
use crate::machine;

/// As the kernel programs count on it.
const LONGEST_HELD: Duration = Duration::from_nanos(MAX_HELD_NS);

#[derive(Default)]
pub(super) struct Guard {
    node_side: RwLock<Vec<u32>>,
    block: Mutex<Block>,
}

#[derive(Default)]
struct Block {
    duration: Duration,
    closed: HashMap<(DestAddr, Proto), First>,
}

/// The flow that closes an IP:PORT to the others.
#[derive(Clone, Copy)]
struct First {
    app: AppAddr,
    held: bool,
    until: Instant,
}

impl Guard {
    pub(super) fn set_node_side(&self, interfaces: &[u32]) {
        *self.node_side.write().unwrap_or_else(PoisonError::into_inner) = interfaces.to_vec();
    }

    pub(super) fn node_side(&self) -> Vec<u32> {
        self.node_side.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the flow was forwarded from where the cluster's nodes live.
    pub(super) async fn is_from_node_side(&self, flow: &Flow) -> bool {
        match self.sender_is_behind(flow).await {
            Ok(link) => link.is_some_and(|link| self.node_side().contains(&link)),
            Err(error) => {
                tracing::debug!(%error, %flow, "cannot see where a flow comes from");
                false
            }
        }
    }

    /// The interface behind which the sender is; `None`: it is this machine.
    async fn sender_is_behind(&self, flow: &Flow) -> io::Result<Option<u32>> {
        let mut sender = flow.app.ip();
        // A second look, if the address of ours was put in the place of another's.
        for _ in 0..2 {
            match machine::leaves_by(sender).await? {
                Some(way) if way.kind == RouteKind::Local => match conntrack::original_source(flow)? {
                    Some(original) if original != sender => sender = original,
                    _ => return Ok(None),
                },
                way => return Ok(way.and_then(|way| way.link)),
            }
        }
        Ok(None)
    }

    pub(super) fn set_block(&self, duration: Duration) {
        let mut block = lock(&self.block);
        block.duration = duration;
        if duration.is_zero() {
            block.closed.clear();
        }
    }

    /// Whether another flow to the same IP:PORT closes it to this one; if not, this one closes it to others.
    pub(super) fn is_repeated(&self, flow: &Flow) -> bool {
        let mut block = lock(&self.block);
        if block.duration.is_zero() {
            return false;
        }
        let now = Instant::now();
        if let Some(first) = block.closed.get(&key(flow)).filter(|first| first.until > now) {
            return first.app != flow.app;
        }
        if block.closed.len() >= MAX_RECURSION as usize {
            block.closed.retain(|_, first| first.until > now);
        }
        if block.closed.len() < MAX_RECURSION as usize {
            block.closed.insert(key(flow), First { app: flow.app, held: true, until: now + LONGEST_HELD });
        }
        false
    }

    /// The app's connect has succeeded: from now on the block duration counts.
    pub(super) fn established(&self, flow: &Flow) {
        let mut block = lock(&self.block);
        if block.duration.is_zero() {
            return;
        }
        let (now, duration) = (Instant::now(), block.duration);
        let others = |first: &First| first.until > now && first.app != flow.app;
        if !block.closed.get(&key(flow)).is_some_and(others) {
            block.closed.insert(key(flow), First { app: flow.app, held: false, until: now + duration });
        }
    }

    /// The flow will not be established: others may try.
    pub(super) fn opened(&self, flow: &Flow) {
        let mut block = lock(&self.block);
        if block.closed.get(&key(flow)).is_some_and(|first| first.held && first.app == flow.app) {
            block.closed.remove(&key(flow));
        }
    }

    pub(super) fn rows(&self) -> Vec<RecursionRow> {
        let (block, now) = (lock(&self.block), Instant::now());
        let closed = block.closed.iter().filter(|(_, first)| first.until > now);
        let row = |((dest, proto), first): (&(DestAddr, Proto), &First)| RecursionRow {
            proto: match proto {
                Proto::Tcp => "tcp",
                Proto::Udp => "udp",
            },
            dest: dest.0,
            first_app: first.app.0,
            state: if first.held { "held" } else { "established" },
            left_ms: u64::try_from((first.until - now).as_millis()).unwrap_or(u64::MAX),
        };
        closed.map(row).collect()
    }
}

fn key(flow: &Flow) -> (DestAddr, Proto) {
    (flow.dest, flow.proto)
}

/// The ends of a flow's answers, by which connection tracking finds it whatever was translated.
pub(super) fn answers(flow: &Flow) -> (SocketAddr, SocketAddr) {
    (flow.dest.0, flow.app.0)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn flow(app_port: u16) -> Flow {
        let app = AppAddr::new(Ipv4Addr::new(198, 18, 0, 1), app_port);
        Flow { app, dest: DestAddr::new(Ipv4Addr::new(10, 96, 0, 1), 80), proto: Proto::Tcp }
    }

    #[test]
    fn a_held_flow_closes_its_destination_until_there_is_a_verdict() {
        let guard = Guard::default();
        assert!(!guard.is_repeated(&flow(1)) && !guard.is_repeated(&flow(2)), "off");
        guard.set_block(Duration::from_secs(60));
        assert!(!guard.is_repeated(&flow(1)));
        assert!(!guard.is_repeated(&flow(1)), "its own SYN, sent again");
        assert!(guard.is_repeated(&flow(2)));
        guard.opened(&flow(2));
        assert!(guard.is_repeated(&flow(2)), "not its own to open");
        guard.opened(&flow(1));
        assert!(!guard.is_repeated(&flow(2)));
    }

    #[test]
    fn an_established_flow_closes_it_for_the_duration() {
        let guard = Guard::default();
        guard.set_block(Duration::from_millis(50));
        assert!(!guard.is_repeated(&flow(1)));
        guard.established(&flow(1));
        guard.opened(&flow(1));
        assert!(guard.is_repeated(&flow(2)), "its end opens nothing before the time");
        assert_eq!(guard.rows().len(), 1);
        std::thread::sleep(Duration::from_millis(60));
        assert!(!guard.is_repeated(&flow(2)));
    }
}
