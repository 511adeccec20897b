//! The janitor: a small process that outlives the daemon and removes what a killed daemon may leave behind.
//!
//! Almost everything of ours dies with the daemon. The exception is the host end of the pair to the private namespace: a
//! socket with unsent data keeps that namespace alive, and the pair with it (facts/dataplane.md §6). The janitor holds
//! one end of a socket pair; when the other end closes, however the daemon ended, it removes the pair and exits.

mod inside;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::AsyncReadExt;
use tp_core::invoker::Account;

pub use inside::run;

/// Until the janitor has done its work: one message to the kernel.
const DONE_WITHIN: Duration = Duration::from_secs(2);

/// The daemon's end.
#[derive(Debug)]
pub struct Janitor {
    child: Child,
    line: UnixStream,
}

impl Janitor {
    /// Starts it, as root; it becomes `account` by itself.
    pub fn start(account: &Account) -> Result<Self> {
        let (line, its_end) = UnixStream::pair().context("making a socket pair")?;
        let program = std::env::current_exe().context("finding our own program")?;
        let child = Command::new(program)
            .args(["janitor", "--uid", &account.uid.to_string(), "--gid", &account.gid.to_string()])
            .env_clear()
            .stdin(OwnedFd::from(its_end))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting the janitor process")?;
        Ok(Self { child, line })
    }

    /// From now on the interface called `name` goes when the daemon does. One made later under the same name stays:
    /// the janitor knows it by its index.
    pub fn watch(&mut self, name: &str) -> Result<()> {
        let index = nix::net::if_::if_nametoindex(name)
            .with_context(|| format!("looking for the interface {name}"))?;
        writeln!(self.line, "{index} {name}").context("telling the janitor")
    }

    /// To be waited on: completes when the janitor has ended.
    pub fn end(&self) -> Result<End> {
        let line = self.line.try_clone().context("watching the janitor")?;
        line.set_nonblocking(true).context("watching the janitor")?;
        Ok(End(tokio::net::UnixStream::from_std(line).context("watching the janitor")?))
    }

    /// Lets it do its work now, and waits for it.
    pub async fn dismiss(mut self, end: &mut End) {
        if let Err(error) = self.line.shutdown(std::net::Shutdown::Write) {
            tracing::debug!(%error, "the janitor has gone already");
        }
        if tokio::time::timeout(DONE_WITHIN, end.wait()).await.is_err() {
            tracing::warn!("the janitor does not end");
            return;
        }
        match self.child.wait() {
            Ok(status) if status.success() => {}
            status => tracing::warn!(?status, "the janitor did not end well"),
        }
    }
}

/// The janitor's end.
#[derive(Debug)]
pub struct End(tokio::net::UnixStream);

impl End {
    /// It never says anything: what can be read is the end.
    pub async fn wait(&mut self) {
        let _ = self.0.read(&mut [0]).await;
    }
}
