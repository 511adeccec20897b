//! What a connection has received and its readers have not taken, and the window that its streams get for that reason
//! (`tp_core::window` decides), or because much of it waits on the way ([`super::delays`]).

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use h2::{FlowControl, RecvStream, StreamId};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};
use tp_core::window;

/// Between two looks at what is held; there are none while nobody waits.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Longer by this for each flow, so that looking takes 1 % of a processor at most.
const LOOK_PER_FLOW: Duration = Duration::from_micros(10);

/// The same where nobody waits, but the window is small because of other connections.
const LOOK_RARELY: Duration = Duration::from_secs(1);

/// Less than this is on its way, not held.
const PASSING: u64 = 1 << 20;

/// Of received bytes: so often it is told that there are many.
const MUCH: u64 = 256 << 10;

/// What waits for its reader on all connections of this process, in bytes, as of their last looks.
static HELD: AtomicU64 = AtomicU64::new(0);

/// The flows of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    flows: Mutex<HashMap<StreamId, FlowControl>>,
    /// How many are waiting for their reader.
    waiting: AtomicUsize,
    /// Somebody has begun to wait, and nobody did.
    begun: Notify,
    /// In bytes, wrapping.
    received: AtomicU64,
    much: Notify,
    /// The largest window that the pings allow.
    delayed: AtomicU32,
    delayed_anew: Notify,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            flows: Mutex::default(),
            waiting: AtomicUsize::new(0),
            begun: Notify::new(),
            received: AtomicU64::new(0),
            much: Notify::new(),
            delayed: AtomicU32::new(window::FULL),
            delayed_anew: Notify::new(),
        }
    }
}

/// A flow's place among them, for as long as it receives.
#[derive(Debug)]
pub(crate) struct Flow {
    flows: Flows,
    id: StreamId,
}

/// A connection's own view: the window that its streams have, and when to look again.
#[derive(Debug)]
pub(super) struct Windows {
    flows: Flows,
    /// What the peer has been told.
    told: u32,
    /// For what is held.
    window: u32,
    /// Our part of [`HELD`].
    part: u64,
    /// At the last look nobody waited and nothing was held.
    quiet: bool,
    due: Instant,
}

impl Flows {
    pub(crate) fn enter(&self, stream: &mut RecvStream) -> Flow {
        let control = stream.flow_control().clone();
        let id = control.stream_id();
        self.lock().insert(id, control);
        Flow { flows: self.clone(), id }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Gives all senders the room that has become free. HTTP/2's library does so when half of a window is used up, as of the
    /// window before it became smaller: what a sender then has left may be less than nothing, and nothing would ever arrive
    /// that makes it look again. Halved and renewed in turns, a window whose flow has read all leaves a third of itself.
    fn renew(&self) {
        for control in self.lock().values_mut() {
            let _ = control.release_capacity(0); // fails only on a stream that has ended meanwhile
        }
    }

    /// Bytes so far, wrapping.
    pub(super) fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Completes when [`MUCH`] has been received since the last time.
    pub(super) async fn much_received(&self) {
        self.0.much.notified().await;
    }

    /// From now on windows are not larger.
    pub(super) fn delayed(&self, window: u32) {
        if self.0.delayed.swap(window, Ordering::Relaxed) != window {
            self.0.delayed_anew.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, FlowControl>> {
        self.0.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow {
    pub(crate) fn received(&self, bytes: usize) {
        let inner = &self.flows.0;
        let before = inner.received.fetch_add(bytes as u64, Ordering::Relaxed);
        if before.wrapping_add(bytes as u64) / MUCH != before / MUCH {
            inner.much.notify_one();
        }
    }

    /// `work` is what the reader does with what was received, and nothing more is read before it is done.
    pub(crate) async fn using<T>(&self, work: impl Future<Output = T>) -> T {
        let (mut work, mut waiting) = (pin!(work), None);
        std::future::poll_fn(|cx| {
            let done = work.as_mut().poll(cx);
            if done.is_pending() {
                waiting.get_or_insert_with(|| Waiting::begin(&self.flows.0));
            }
            done
        })
        .await
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        let control = self.flows.lock().remove(&self.id);
        drop(control); // it locks the connection: not under our own lock
    }
}

struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn begin(inner: &'a Inner) -> Self {
        if inner.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            inner.begun.notify_one();
        }
        Self(inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Windows {
    pub(super) fn new(flows: Flows) -> Self {
        Self { flows, told: window::FULL, window: window::FULL, part: 0, quiet: true, due: Instant::now() }
    }

    /// The window that the streams should have from now on. If the future is dropped, the next one goes on where it was.
    pub(super) async fn next(&mut self) -> u32 {
        let flows = self.flows.clone();
        loop {
            tokio::select! {
                () = self.look_when_due() => {}
                () = flows.0.delayed_anew.notified() => {}
            }
            let window = self.should_be();
            if window != self.told {
                return window;
            }
        }
    }

    fn should_be(&self) -> u32 {
        let delayed = self.flows.0.delayed.load(Ordering::Relaxed);
        self.window.min(delayed.max(self.told / 2)) // one step at a time: see `Flows::renew`
    }

    async fn look_when_due(&mut self) {
        if self.quiet {
            let begun = self.flows.0.begun.notified();
            if self.window == window::FULL && self.told == self.should_be() {
                begun.await;
                self.due = Instant::now() + LOOK_EVERY;
            } else if timeout_at(self.due, begun).await.is_ok() {
                self.due = self.due.min(Instant::now() + LOOK_EVERY);
            }
            self.quiet = false;
        }
        sleep_until(self.due).await;
        let (flows, held) = self.look();
        let window = window::next(self.window, held);
        let settled = self.quiet && window == self.window;
        let pause = if settled { LOOK_RARELY } else { LOOK_EVERY + LOOK_PER_FLOW * flows };
        self.due = Instant::now() + pause;
        self.window = window;
    }

    /// To be said when the peer has been told so.
    pub(super) fn are(&mut self, window: u32) {
        tracing::debug!(window, held = HELD.load(Ordering::Relaxed), "receive windows");
        self.told = window;
        self.flows.renew();
    }

    /// How many flows there are here, and what the whole process holds.
    fn look(&mut self) -> (u32, u64) {
        if self.told < window::FULL {
            self.flows.renew();
        }
        let flows = self.flows.lock();
        let (count, part) = (flows.len(), flows.values().map(|flow| flow.used_capacity() as u64).sum());
        drop(flows);
        self.quiet = self.flows.0.waiting.load(Ordering::Relaxed) == 0 && part < PASSING;
        let held = self.account(if self.quiet { 0 } else { part });
        (u32::try_from(count).unwrap_or(u32::MAX), held)
    }

    fn account(&mut self, part: u64) -> u64 {
        let before = std::mem::replace(&mut self.part, part);
        // wraps where it shrinks
        let change = part.wrapping_sub(before);
        HELD.fetch_add(change, Ordering::Relaxed).wrapping_add(change)
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        self.account(0);
    }
}
