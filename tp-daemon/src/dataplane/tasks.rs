//! What a dataplane does beside the packets, for as long as it lives.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub(super) fn spawn_until(stop: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(stop.clone().run_until_cancelled_owned(task));
}

/// Never ends by itself.
pub(super) async fn every_second(mut work: impl FnMut()) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        work();
    }
}
