//! Notices a peer that is gone without a word: HTTP/2 pings.

use std::time::Duration;

use h2::{Ping, PingPong};

/// Completes when the peer leaves a ping unanswered for `within`, or when the connection has ended.
pub(super) async fn unanswered(ping_pong: Option<PingPong>, every: Duration, within: Duration) {
    let Some(mut ping_pong) = ping_pong else { return std::future::pending().await };
    loop {
        tokio::time::sleep(every).await;
        match tokio::time::timeout(within, ping_pong.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // the connection's own future says why it ended
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}
