//! Asking the daemon's program, which knows the kernel, the cluster and the configuration.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use tp_core::doctor::Findings;
use tp_core::invoker::Account;
use tp_proto::control::request_to_bytes;
use tp_proto::daemon::ConnectRequest;

use crate::invoker;

/// What only root can try.
pub(super) async fn as_root(program: &Path) -> Result<Findings> {
    let mut command = Command::new(program);
    command.arg("check");
    output(command, Vec::new()).await
}

/// Everything else. This process gives up root before, for good.
pub(super) async fn as_invoker(
    program: &Path,
    account: &Account,
    request: &ConnectRequest,
) -> Result<Findings> {
    let mut command = Command::new(program);
    command.arg("doctor");
    invoker::furnish(&mut command, account);
    invoker::become_invoker(account)?;
    output(command, request_to_bytes(request)).await
}

/// Tokens are among what it is told: they go through a pipe that nobody else sees.
async fn output(mut command: Command, told: Vec<u8>) -> Result<Findings> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let asked = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // one that ends without listening says why
            let _ = stdin.write_all(&told);
        }
        child.wait_with_output()
    });
    let said = asked.await.context("asking the daemon's program")?.context("asking the daemon's program")?;
    let complaint = String::from_utf8_lossy(&said.stderr).trim().to_owned();
    ensure!(said.status.success(), "it ended with {}: {complaint}", said.status);
    serde_json::from_slice(&said.stdout).map_err(|error| anyhow!(error).context("reading what it found"))
}
