//! What many streams have to say leaves in one write.
//!
//! Whoever sends wakes the connection, and the runtime lets whoever was woken last go first: without this, each message of
//! 64 flows would be written by itself, and wake every process on its way (docs/performance.md).

use std::task::{Context, Poll};

/// Lets all tasks that are ready go before the connection.
#[derive(Debug, Default)]
pub(super) struct Gather {
    others_went: bool,
}

impl Gather {
    /// To be polled before the connection, each time. With one stream there is nothing to gather.
    pub(super) fn poll(&mut self, streams: usize, cx: &Context<'_>) -> Poll<()> {
        if streams > 1 && !std::mem::replace(&mut self.others_went, true) {
            // woken while it runs, a task goes to the end of the queue
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.others_went = false;
        Poll::Ready(())
    }
}
