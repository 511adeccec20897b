//! `tp doctor`: looks at this machine and the cluster, and says what `tp connect` with the same flags would do.
//!
//! What takes the daemon's knowledge is looked at by its program: as root what root does, as the invoking user the
//! rest.

mod ask;
mod own;

use std::process::ExitCode;

use anyhow::Result;
use nix::unistd::geteuid;
use tp_core::doctor::{Check, Findings, Report, Stage};

use crate::connect::ConnectArgs;
use crate::output::Output;
use crate::progress::Progress;
use crate::{daemon, invoker};

pub async fn run(args: &ConnectArgs, output: Output) -> Result<ExitCode> {
    let account = invoker::account()?;
    let request = args.request()?;
    let mut progress = Progress::new();
    progress.step("doctor", "looking at this machine");
    let program = daemon::program()?;
    let mut checks = vec![own::privileges(), own::connection().await];
    let (installed, runs) = own::program(&program);
    checks.push(installed);
    let mut command = None;
    if runs {
        if geteuid().is_root() {
            checks.extend(findings(ask::as_root(&program).await).checks);
        }
        progress.step("doctor", "asking the cluster");
        let asked = findings(ask::as_invoker(&program, &account, &request).await);
        command = asked.command;
        checks.extend(asked.checks);
    }
    progress.succeed();
    let report = Report::new(checks, command.as_deref().unwrap_or("sudo tp connect"));
    output.print(&report, Report::text)?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A program that tells nothing is a finding too.
fn findings(asked: Result<Findings>) -> Findings {
    asked.unwrap_or_else(|error| {
        let hint = "this is a bug; please report it with this output";
        let check = Check::fail(Stage::Tp, "tp-daemon", format!("{error:#}"), hint);
        Findings { command: None, checks: vec![check] }
    })
}
