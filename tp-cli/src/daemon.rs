//! The daemon, seen from the command line: finding it, asking it, waiting for its end.

mod start;

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tp_proto::control::{self, ConnectError};
use tp_proto::daemon::daemon_client::DaemonClient;

use crate::report::{Advice, with_hint};
pub use start::{again_as_root, needs_root, program, start};

/// Until a daemon that has answered Quit is gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A daemon that runs.
#[derive(Debug)]
pub struct Daemon {
    pub client: DaemonClient<Channel>,
    pid: i32,
    /// Readable when the process has ended. `None` if it is not in our PID namespace.
    process: Option<OwnedFd>,
}

/// The daemon of this network namespace, if there is one.
pub async fn find() -> Result<Option<Daemon>> {
    match control::connect().await {
        Ok((client, listener)) => {
            let process =
                Pid::from_raw(listener.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
            Ok(Some(Daemon { client, pid: listener.pid, process }))
        }
        // it went away while we came
        Err(ConnectError::NotRunning | ConnectError::Http(_)) => Ok(None),
        Err(error @ ConnectError::Squatter(listener)) => Err(with_hint(
            anyhow!(error).context("looking for the daemon"),
            format!("it is not tp's daemon: see what it is with `ps -fp {}`, and end it", listener.pid),
        )),
        Err(error) => Err(error).context("looking for the daemon").hint(SEE_LOG),
    }
}

pub const SEE_LOG: &str = "see its log: ~/.cache/tp/logs/daemon.log";

impl Daemon {
    /// Waits until the process has ended: then its devices are gone too.
    pub async fn gone(self) -> Result<()> {
        let doing = format!("waiting for the daemon (process {}) to end", self.pid);
        drop(self.client);
        let Some(process) = self.process else { return Ok(()) };
        let ended = tokio::task::spawn_blocking(move || {
            let timeout = Timespec::try_from(GONE_WITHIN).ok();
            poll(&mut [PollFd::new(&process, PollFlags::IN)], timeout.as_ref())
        });
        match ended.await.with_context(|| doing.clone())?.with_context(|| doing.clone())? {
            0 => Err(anyhow!("it still runs").context(doing)).hint(format!("end it: sudo kill {}", self.pid)),
            _ => Ok(()),
        }
    }
}

/// Whether an RPC failed because the daemon ends, or has ended.
pub fn is_gone(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown)
}

/// An RPC's error, for people.
pub fn rpc_error(doing: &'static str, status: &Status) -> anyhow::Error {
    let error = anyhow!(status.message().to_owned()).context(doing);
    match status.code() {
        Code::PermissionDenied => with_hint(error, "use sudo, or ask the owner to run `tp quit`"),
        Code::NotFound | Code::FailedPrecondition => error,
        _ if is_gone(status) => {
            with_hint(anyhow!("the daemon has ended unexpectedly").context(doing), SEE_LOG)
        }
        _ => with_hint(error, SEE_LOG),
    }
}
