//! What `tp doctor` asks this program for: checks as JSON on stdout. Nothing on the machine is changed.
//!
//! Two runs, since two users are asked about: root, who sets a connection up, and the invoking user, whose kubeconfig
//! and files count.

mod cluster;
mod kernel;
mod machine;
mod names;
mod routes;
mod settings;

use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::Context;
use tp_core::doctor::{Check, Findings, Stage, Verdict};
use tp_proto::control::request_from_bytes;
use tp_proto::daemon::ConnectRequest;

use crate::failure::Failure;
use crate::workstation;

/// As root, in a process with one thread: sets everything up where nobody sees it, and throws it away.
pub fn as_root() -> ExitCode {
    print(&Findings { command: None, checks: kernel::check() })
}

/// As the invoking user: this machine and the cluster that the request on stdin names.
pub fn as_user() -> ExitCode {
    let checks = read_request().and_then(|request| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let command = workstation::command_line(&request).0;
        Ok(Findings { command: Some(command), checks: runtime.block_on(everything(request)) })
    });
    match checks {
        Ok(findings) => print(&findings),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What comes first may make sense of what comes later; what cannot be asked for want of something is left out.
async fn everything(request: ConnectRequest) -> Vec<Check> {
    let mut checks = Vec::new();
    let machine = match machine::look(&mut checks).await {
        Ok(machine) => Some(machine),
        Err(failure) => {
            checks.push(failed(Stage::Machine, "routes", failure));
            None
        }
    };
    names::check(&mut checks).await;
    let configured = settings::check(&request, &mut checks).await;
    let found = cluster::examine(&request).await;
    let open = found.checks.iter().all(|check| check.verdict != Verdict::Fail);
    checks.extend(found.checks);
    if configured && (open || found.guess.is_some()) {
        match workstation::options(request).await {
            Ok(options) if open => routes::check(&options, machine.as_ref(), &mut checks).await,
            Ok(options) => checks.extend(routes::guess(&options, machine.as_ref(), found.guess.as_ref())),
            Err(failure) => checks.push(failed(Stage::Cluster, "target", failure)),
        }
    }
    checks
}

fn read_request() -> anyhow::Result<ConnectRequest> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("reading the request")?;
    request_from_bytes(&bytes).context("reading the request; `tp doctor` writes it, nobody types it")
}

fn print(findings: &Findings) -> ExitCode {
    let written = serde_json::to_string(findings)
        .map_err(std::io::Error::other)
        .and_then(|text| writeln!(std::io::stdout(), "{text}"));
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn failed(stage: Stage, name: &str, failure: Failure) -> Check {
    Check::fail(stage, name, failure.message(), failure.hint)
}
