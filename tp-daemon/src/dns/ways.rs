//! How the machine's queries come to our server: which ways are open, opening and closing them.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use tp_core::dns::DnsConfig;
use tp_core::dns::servers::{self, Ways};

use super::Prepared;
use super::respond::Responder;
use crate::dataplane::Dataplane;

/// The kernel's part of it.
trait Hooks: Send + Sync {
    fn attach(&self) -> io::Result<()>;
    fn detach(&self);
}

impl<D: Dataplane> Hooks for D {
    fn attach(&self) -> io::Result<()> {
        self.attach_dns_hooks()
    }

    fn detach(&self) {
        self.detach_dns_hooks();
    }
}

pub(super) struct WaysIn {
    hooks: Box<dyn Hooks>,
    responder: Arc<Responder>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    open: Mutex<Open>,
}

#[derive(Clone, Default)]
struct Open {
    ways: Ways,
    notes: Vec<String>,
}

impl WaysIn {
    pub(super) fn new(_prepared: Prepared, dataplane: impl Dataplane, responder: Arc<Responder>) -> Self {
        Self {
            hooks: Box::new(dataplane),
            responder,
            changing: tokio::sync::Mutex::default(),
            open: Mutex::default(),
        }
    }

    /// Opens the ways that the machine needs now, and closes the others.
    pub(super) async fn settle(&self, _config: &DnsConfig) -> anyhow::Result<()> {
        let _one = self.changing.lock().await;
        let wanted = servers::ways(false, &self.responder.machine.servers());
        let before = self.open().ways;
        if wanted.hooks && !before.hooks {
            self.hooks.attach().context("leading port 53 of this machine's programs to our DNS server")?;
        } else if before.hooks && !wanted.hooks {
            self.hooks.detach();
        }
        self.open().ways = wanted;
        Ok(())
    }

    /// Closes every way: names are as before.
    pub(super) async fn restore(&self) {
        let _one = self.changing.lock().await;
        self.close_hooks();
    }

    /// Waits for something that makes [`WaysIn::settle`] necessary.
    pub(super) async fn changed(&self) {
        std::future::pending().await
    }

    pub(super) fn mode(&self) -> String {
        let ways = self.open().ways;
        let names = [(ways.resolved, "systemd-resolved"), (ways.hooks, "socket hooks")];
        let names: Vec<&str> = names.iter().filter(|(open, _)| *open).map(|(_, name)| *name).collect();
        names.join(" and ")
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.open().notes.clone()
    }

    fn close_hooks(&self) {
        let mut open = self.open();
        if std::mem::take(&mut open.ways.hooks) {
            self.hooks.detach();
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WaysIn {
    fn drop(&mut self) {
        self.close_hooks();
    }
}

impl fmt::Debug for WaysIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaysIn").field("ways", &self.open().ways).finish_non_exhaustive()
    }
}
