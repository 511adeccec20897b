//! What the daemon and the manager hold at a moment.
use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::eventually;
use crate::site::Session;
use crate::standalone::Standalone;

/// Of what many needed, when they are gone and it is quiet.
const KEPT: u64 = 40 << 20;

/// Resident bytes and open descriptors of both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) daemon: Part,
    pub(super) manager: Part,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) bytes: u64,
    pub(super) descriptors: usize,
}

impl Usage {
    pub(super) fn now(site: &Standalone) -> Result<Self> {
        Ok(Self { daemon: Part::of(site.tp().daemon()?)?, manager: Part::of(site.manager().pid())? })
    }

    /// Neither has grown by more than this since `before`.
    pub(super) fn within(&self, before: &Self, daemon: u64, manager: u64) -> Result<()> {
        for (name, now, before, most) in [
            ("daemon", self.daemon, before.daemon, daemon),
            ("manager", self.manager, before.manager, manager),
        ] {
            let grown = now.bytes.saturating_sub(before.bytes);
            ensure!(
                grown <= most,
                "the {name} has grown by {} KiB, more than {} KiB",
                grown >> 10,
                most >> 10
            );
        }
        Ok(())
    }

    /// The sockets that were opened since then are closed again.
    pub(super) fn descriptors_again(&self, site: &Standalone) -> Result<()> {
        eventually(Duration::from_secs(15), || {
            let now = Self::now(site)?;
            // a lookup or a report may have one open at any moment
            let same = now.daemon.descriptors <= self.daemon.descriptors + 4
                && now.manager.descriptors <= self.manager.descriptors + 4;
            ensure!(same, "descriptors are left open: before {self}, now {now}");
            Ok(())
        })
    }

    /// What was needed since then is given back, once it is quiet: not at once (tp-proto/src/memory.rs).
    pub(super) fn given_back(&self, site: &Standalone) -> Result<()> {
        eventually(Duration::from_secs(30), || Self::now(site)?.within(self, KEPT, KEPT))
            .context("what the connections needed is not given back")
    }
}

impl Part {
    fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = kib.trim().trim_end_matches(" kB").parse()?;
        Ok(Self { bytes: kib << 10, descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count() })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "daemon {:.1} MiB {} fds, manager {:.1} MiB {} fds",
            mib(self.daemon.bytes),
            self.daemon.descriptors,
            mib(self.manager.bytes),
            self.manager.descriptors
        )
    }
}
