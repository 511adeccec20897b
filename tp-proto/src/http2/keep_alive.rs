//! Notices a peer that is gone without a word: HTTP/2 pings.

use std::time::{Duration, Instant};

use h2::{Ping, PingPong};
use tokio::time::timeout;

use super::delays::Delays;

/// Completes when the peer leaves a ping unanswered for `within`, or when the connection has ended. How long the answers take
/// is told to `delays`, who may ask for some before their time.
pub(super) async fn unanswered(
    ping_pong: Option<PingPong>,
    every: Duration,
    within: Duration,
    mut delays: Option<Delays>,
) {
    let Some(mut ping_pong) = ping_pong else { return std::future::pending().await };
    loop {
        match &delays {
            None => tokio::time::sleep(every).await,
            Some(delays) => timeout(every, delays.due()).await.unwrap_or_default(),
        }
        let start = Instant::now();
        match timeout(within, ping_pong.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {
                if let Some(delays) = &mut delays {
                    delays.pinged(start.elapsed());
                }
            }
            // the connection's own future says why it ended
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}
