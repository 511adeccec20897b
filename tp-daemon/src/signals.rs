//! Signals that end the daemon in good order.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Handlers, installed by [`Signals::install`]; from then on a signal does not end the process.
#[derive(Debug)]
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one that means quit. SIGHUP does not: the daemon has no terminal to lose.
    pub async fn quit(&mut self) -> &'static str {
        loop {
            tokio::select! {
                Some(()) = self.terminate.recv() => return "SIGTERM",
                Some(()) = self.interrupt.recv() => return "SIGINT",
                Some(()) = self.hangup.recv() => tracing::info!("SIGHUP is ignored"),
                else => std::future::pending().await,
            }
        }
    }
}
