//! How long pings take while much arrives on a connection, and the window that its flows get for that reason
//! (`tp_core::window::Queue` decides).

use std::time::{Duration, Instant};

use tp_core::window::Queue;

use super::Flows;

/// Between two pings, at least.
const SOONEST: Duration = Duration::from_millis(100);

/// Bytes up to which a ping had hardly anything ahead of it.
const HARDLY: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Delays {
    flows: Flows,
    queue: Queue,
    /// At the last ping; before the first one there is nothing to compare with.
    received: Option<u64>,
}

impl Delays {
    pub(super) fn new(flows: Flows) -> Self {
        Self { flows, queue: Queue::default(), received: None }
    }

    /// When the next ping is worth while.
    pub(super) async fn due(&self) {
        if self.received.is_some() {
            tokio::time::sleep(SOONEST).await;
            self.flows.much_received().await;
        }
    }

    pub(super) fn pinged(&mut self, took: Duration) {
        let received = self.flows.received();
        let before = self.received.replace(received).unwrap_or_default();
        let idle = received.wrapping_sub(before) <= HARDLY;
        self.flows.delayed(self.queue.pinged(took, idle, Instant::now()));
    }
}
