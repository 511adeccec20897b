//! What has been read to be sent and is not written yet: bounded for each flow by [`SEND_BUFFER`] and one read more, and in
//! sum, whichever connections stand still, by [`BUDGET`] and [`LITTLE`] for each flow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::SEND_BUFFER;

/// Where more than this waits in a process, a flow adds [`LITTLE`] at a time, and only when nothing of its own waits.
const BUDGET: usize = 64 << 20;

/// Enough for a flow to go on, in bytes.
const LITTLE: usize = 4096;

/// What waits on all connections of this process, in bytes.
static UNSENT: AtomicUsize = AtomicUsize::new(0);

/// One flow's part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsent(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bytes: AtomicUsize,
    /// The flow's task, if it waits for some or all of them to be written.
    waker: AtomicWaker,
}

/// Some bytes that wait; dropped when they are written, or never will be.
#[derive(Debug)]
pub(super) struct Share {
    of: Unsent,
    bytes: usize,
}

impl Unsent {
    /// How much of `most` may be added now.
    pub(crate) fn poll_more(&self, cx: &mut Context<'_>, most: usize) -> Poll<usize> {
        if UNSENT.load(Ordering::Relaxed) <= BUDGET {
            return Poll::Ready(most);
        }
        self.0.waker.register(cx.waker());
        match self.0.bytes.load(Ordering::Acquire) {
            0 => Poll::Ready(most.min(LITTLE)),
            _ => Poll::Pending,
        }
    }

    /// Ready when of this flow no more than [`SEND_BUFFER`] waits, or nothing but the `last` bytes of it. HTTP/2's library has
    /// a limit of its own, but takes a part of what does not fit: every fourth read of a socket would be written in two pieces,
    /// and wake its reader twice.
    pub(crate) fn poll_fits(&self, cx: &Context<'_>, last: usize) -> Poll<()> {
        if !self.fits(last) {
            self.0.waker.register(cx.waker());
        }
        if self.fits(last) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// See [`Self::poll_fits`].
    pub(crate) fn fits(&self, last: usize) -> bool {
        self.0.bytes.load(Ordering::Acquire) <= SEND_BUFFER.max(last)
    }

    pub(super) fn add(&self, bytes: usize) -> Share {
        UNSENT.fetch_add(bytes, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        Share { of: self.clone(), bytes }
    }
}

impl Share {
    pub(super) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { of: self.of.clone(), bytes }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        UNSENT.fetch_sub(self.bytes, Ordering::Relaxed);
        let before = self.of.0.bytes.fetch_sub(self.bytes, Ordering::Release);
        let after = before - self.bytes;
        // beyond it, somebody may wait for it, or for all but a piece that is longer
        if after == 0 || before > SEND_BUFFER {
            self.of.0.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// The only test of this program that comes near the budget: others would see it.
    #[test]
    fn where_much_waits_each_flow_adds_little_and_waits_for_it() {
        let mut cx = Context::from_waker(Waker::noop());
        let (first, second) = (Unsent::default(), Unsent::default());
        assert_eq!(first.poll_more(&mut cx, 65_536), Poll::Ready(65_536));
        let mut much = first.add(BUDGET + 10);
        assert_eq!(first.poll_more(&mut cx, 65_536), Poll::Pending);
        assert_eq!(second.poll_more(&mut cx, 65_536), Poll::Ready(LITTLE));
        assert_eq!(second.poll_more(&mut cx, 5), Poll::Ready(5));
        let little = second.add(LITTLE);
        assert_eq!(second.poll_more(&mut cx, 65_536), Poll::Pending);
        drop(little);
        assert_eq!(second.poll_more(&mut cx, 65_536), Poll::Ready(LITTLE));
        drop(much.split(100));
        assert_eq!(first.poll_more(&mut cx, 65_536), Poll::Ready(65_536));
        drop(much);
        assert_eq!(first.0.bytes.load(Ordering::Relaxed), 0);
    }
}
