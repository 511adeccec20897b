//! `tp connect -- CMD`: the command runs as the invoking user, and what happens to `tp` happens to it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command as StdCommand, ExitCode, ExitStatus};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use tokio::process::Command;
use tp_core::invoker::Account;

use crate::invoker;
use crate::report::{self, Advice};
use crate::signals::Signals;

/// As shells have it.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Runs the command to its end and returns its code. This process gives up root before.
pub(super) async fn run(words: &[OsString], account: &Account, signals: &mut Signals) -> Result<ExitCode> {
    let Some((program, args)) = words.split_first() else { return Ok(ExitCode::SUCCESS) };
    let mut command = StdCommand::new(program);
    command.args(args);
    invoker::furnish(&mut command, account);
    invoker::become_invoker(account)?;
    let mut child = match Command::from(command).spawn() {
        Ok(child) => child,
        Err(error) => {
            let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
            let failed: Result<()> = Err(error)
                .with_context(|| format!("running {}", program.to_string_lossy()))
                .hint("check the name of the command after `--`");
            if let Err(error) = failed {
                report::print(&error);
            }
            return Ok(code.into());
        }
    };
    loop {
        tokio::select! {
            status = child.wait() => return status.map(code_of).context("waiting for the command"),
            signal = signals.any() => {
                if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok())
                    && !comes_from_the_terminal(signal)
                {
                    // it may have ended in this moment
                    let _ = kill(Pid::from_raw(pid), signal);
                }
            }
        }
    }
}

pub(super) fn code_of_signal(signal: Signal) -> ExitCode {
    ExitCode::from(128 + u8::try_from(signal as i32).unwrap_or(0))
}

fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// The terminal sends its signals to the whole foreground group: the command has got this one by itself.
fn comes_from_the_terminal(signal: Signal) -> bool {
    matches!(signal, Signal::SIGINT | Signal::SIGQUIT)
        && tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}
