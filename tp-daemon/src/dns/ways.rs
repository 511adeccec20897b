//! How the machine's queries come to our server: which ways are open, opening and closing them.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tp_core::dns::DnsConfig;
use tp_core::dns::resolved::link_domains;
use tp_core::dns::servers::{self, Ways};

use super::Prepared;
use super::resolved::Resolved;
use super::respond::Responder;
use crate::dataplane::{Dataplane, TUN_NAME};

/// resolved takes a moment until it knows the new link's addresses, and sends nothing there before.
const RESOLVED_TRIES: usize = 20;
const RESOLVED_AGAIN: Duration = Duration::from_millis(100);

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
    resolved: Option<Resolved>,
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
    pub(super) async fn new(
        prepared: Prepared,
        dataplane: impl Dataplane,
        responder: Arc<Responder>,
    ) -> Self {
        Self {
            hooks: Box::new(dataplane),
            resolved: Resolved::new(prepared.bus).await,
            responder,
            changing: tokio::sync::Mutex::default(),
            open: Mutex::default(),
        }
    }

    /// Opens the ways that the machine needs now, and closes the others.
    pub(super) async fn settle(&self, config: &DnsConfig) -> anyhow::Result<()> {
        let _one = self.changing.lock().await;
        let mut notes = Vec::new();
        let resolved = match &self.resolved {
            Some(resolved) if resolved.runs().await => match self.tell(resolved, config).await {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "systemd-resolved is not used");
                    notes.push(format!("systemd-resolved is not used: {error:#}"));
                    false
                }
            },
            _ => false,
        };
        self.open().ways.resolved = resolved;
        let mut hooks = servers::ways(resolved, &self.responder.machine.servers()).hooks;
        let before = self.open().ways.hooks;
        if hooks && !before {
            match self.hooks.attach() {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    notes.push(format!(
                        "names of the cluster do not resolve: that needs systemd-resolved, or the kernel's leave to \
                         hook into sockets ({error})"
                    ));
                    hooks = false;
                }
                attached => {
                    attached.context("leading port 53 of this machine's programs to our DNS server")?;
                }
            }
        } else if before && !hooks {
            self.hooks.detach();
        }
        let mut open = self.open();
        open.ways.hooks = hooks;
        open.notes = notes;
        Ok(())
    }

    /// Closes every way: names are as before.
    pub(super) async fn restore(&self) {
        let _one = self.changing.lock().await;
        self.close_hooks();
        if std::mem::take(&mut self.open().ways.resolved)
            && let Some(resolved) = &self.resolved
            && let Ok(link) = nix::net::if_::if_nametoindex(TUN_NAME)
            && let Err(error) = resolved.revert(link).await
        {
            tracing::warn!(%error, "systemd-resolved keeps our names until the link is gone");
        }
    }

    /// Waits for something that makes [`WaysIn::settle`] necessary.
    pub(super) async fn changed(&self) {
        match &self.resolved {
            Some(resolved) => resolved.changed().await,
            None => std::future::pending::<()>().await,
        }
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

    async fn tell(&self, resolved: &Resolved, config: &DnsConfig) -> anyhow::Result<()> {
        let link =
            nix::net::if_::if_nametoindex(TUN_NAME).with_context(|| format!("looking for {TUN_NAME}"))?;
        resolved
            .apply(link, &self.responder.addresses, &link_domains(config))
            .await
            .context("telling it the cluster's names")?;
        let check = self.responder.zone.self_check().ok_or_else(|| anyhow!("the cluster has no domain"))?;
        let mut last = anyhow!("it never sent us a query");
        for _ in 0..RESOLVED_TRIES {
            match resolved.resolves(&check).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => last = error.into(),
            }
            tokio::time::sleep(RESOLVED_AGAIN).await;
        }
        let _ = resolved.revert(link).await;
        Err(last).with_context(|| format!("asking it for {check}"))
    }

    /// Nobody is led here by the kernel any more.
    pub(super) fn close_hooks(&self) {
        let mut open = self.open();
        if std::mem::take(&mut open.ways.hooks) {
            self.hooks.detach();
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WaysIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaysIn").field("ways", &self.open().ways).finish_non_exhaustive()
    }
}
