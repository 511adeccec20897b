//! The daemon's part of the recursion block: the kernel program closes an IP:PORT when it sees the first packet of a
//! flow, the daemon says until when.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aya::maps::{Array, HashMap, MapData};
use tp_common::Addr;
use tp_common::recursion::{ESTABLISHED, HELD, RecursionKey, RecursionValue};
use tp_core::flow::Flow;

use crate::dataplane::maps::{absent_is_fine, error, lock};
use crate::dataplane::shared::monotonic_ns;

pub(super) struct Block {
    pub(super) closed: Mutex<HashMap<MapData, RecursionKey, RecursionValue>>,
    setting: Mutex<Array<MapData, u64>>,
    /// The same as `setting`: a flow that asks pays nothing while the block is off.
    duration_ns: AtomicU64,
}

impl Block {
    pub(super) fn new(
        closed: HashMap<MapData, RecursionKey, RecursionValue>,
        setting: Array<MapData, u64>,
    ) -> Self {
        Self { closed: Mutex::new(closed), setting: Mutex::new(setting), duration_ns: AtomicU64::new(0) }
    }

    pub(super) fn set(&self, duration: Duration) -> io::Result<()> {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        lock(&self.setting).set(0, nanos, 0).map_err(error)?;
        self.duration_ns.store(nanos, Ordering::Relaxed);
        if nanos == 0 {
            let mut closed = lock(&self.closed);
            let all: Vec<RecursionKey> = closed.keys().filter_map(Result::ok).collect();
            for key in all {
                absent_is_fine(closed.remove(&key));
            }
        }
        Ok(())
    }

    /// The app's connect has succeeded: from now on the block duration counts.
    pub(super) fn established(&self, flow: &Flow) {
        let duration = self.duration_ns.load(Ordering::Relaxed);
        if duration == 0 {
            return;
        }
        let (key, now) = (key(flow), monotonic_ns());
        let mut closed = lock(&self.closed);
        let others = |first: RecursionValue| first.expiry_ns > now && !is_of(&first, flow);
        if closed.get(&key, 0).is_ok_and(others) {
            return;
        }
        let until = RecursionValue {
            expiry_ns: now.saturating_add(duration),
            app: Addr::from(flow.app.ip()),
            app_port: flow.app.port(),
            state: ESTABLISHED,
            zero: [0; 5],
        };
        if let Err(error) = closed.insert(key, until, 0) {
            tracing::debug!(%error, %flow, "the recursion block of a flow does not end with its duration");
        }
    }

    /// The flow will not be established, or the daemon does not know of it at all: others may try.
    pub(super) fn opened(&self, flow: &Flow) {
        if self.duration_ns.load(Ordering::Relaxed) == 0 {
            return;
        }
        let key = key(flow);
        let mut closed = lock(&self.closed);
        if closed.get(&key, 0).is_ok_and(|first| first.state == HELD && is_of(&first, flow)) {
            absent_is_fine(closed.remove(&key));
        }
    }
}

fn key(flow: &Flow) -> RecursionKey {
    RecursionKey {
        dest: Addr::from(flow.dest.ip()),
        port: flow.dest.port(),
        proto: flow.proto.number(),
        zero: 0,
    }
}

fn is_of(first: &RecursionValue, flow: &Flow) -> bool {
    first.app == Addr::from(flow.app.ip()) && first.app_port == flow.app.port()
}
