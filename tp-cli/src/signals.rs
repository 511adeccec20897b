//! Signals that reach `tp` while it waits.

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// From [`Signals::install`] on, these signals are told instead of ending `tp`.
#[derive(Debug)]
pub struct Signals {
    interrupt: Stream,
    terminate: Stream,
    hangup: Stream,
    quit: Stream,
    user1: Stream,
    user2: Stream,
}

impl Signals {
    pub fn install() -> Result<Self> {
        let handle = |kind| signal(kind).context("handling signals");
        Ok(Self {
            interrupt: handle(SignalKind::interrupt())?,
            terminate: handle(SignalKind::terminate())?,
            hangup: handle(SignalKind::hangup())?,
            quit: handle(SignalKind::quit())?,
            user1: handle(SignalKind::user_defined1())?,
            user2: handle(SignalKind::user_defined2())?,
        })
    }

    /// The next one, whichever it is.
    pub async fn any(&mut self) -> Signal {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Signal::SIGINT,
            Some(()) = self.terminate.recv() => Signal::SIGTERM,
            Some(()) = self.hangup.recv() => Signal::SIGHUP,
            Some(()) = self.quit.recv() => Signal::SIGQUIT,
            Some(()) = self.user1.recv() => Signal::SIGUSR1,
            Some(()) = self.user2.recv() => Signal::SIGUSR2,
            else => std::future::pending().await,
        }
    }

    /// The next one that means "stop what you do".
    pub async fn stop(&mut self) -> Signal {
        loop {
            let signal = self.any().await;
            if !matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2) {
                return signal;
            }
        }
    }
}
