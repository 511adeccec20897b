//! When connections want to be looked at again: retransmissions, late acknowledgements, ends.
//!
//! A connection's time moves with every packet, mostly to later. So an entry is only a promise to look again, and a new
//! one is made only for an earlier time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Mutex, Weak};
use std::time::Instant;

use tokio::sync::Notify;

use crate::dataplane::maps::lock;
use crate::dataplane::userspace::connection::Connection;

#[derive(Default)]
pub(super) struct Timers {
    heap: Mutex<BinaryHeap<Entry>>,
    sooner: Notify,
}

struct Entry {
    at: Instant,
    connection: Weak<Connection>,
}

impl Timers {
    pub(super) fn add(&self, at: Instant, connection: Weak<Connection>) {
        let mut heap = lock(&self.heap);
        let first = heap.peek().is_none_or(|first| at < first.at);
        heap.push(Entry { at, connection });
        drop(heap);
        if first {
            self.sooner.notify_one();
        }
    }

    /// Never ends.
    pub(super) async fn run(&self) {
        loop {
            let next = loop {
                let due = {
                    let mut heap = lock(&self.heap);
                    match heap.peek().map(|first| first.at) {
                        Some(at) if at <= Instant::now() => heap.pop(),
                        next => break next,
                    }
                };
                if let Some(due) = due
                    && let Some(connection) = due.connection.upgrade()
                {
                    connection.on_time(due.at);
                }
            };
            tokio::select! {
                () = wait_until(next) => {}
                () = self.sooner.notified() => {}
            }
        }
    }
}

async fn wait_until(next: Option<Instant>) {
    match next {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Ord for Entry {
    /// The earliest is the greatest: what a heap gives first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}
