//! How long to wait before the next try: doubling, with an upper bound.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    current: Duration,
}

impl Backoff {
    pub fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, current: first }
    }

    /// The pause before the next try; the one after it is twice as long.
    pub fn pause(&mut self) -> Duration {
        let pause = self.current;
        self.current = (self.current * 2).min(self.last);
        pause
    }

    pub fn reset(&mut self) {
        self.current = self.first;
    }
}
