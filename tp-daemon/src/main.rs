//! `tp-daemon`: started by `tp connect`, ended by `tp quit`. Nobody need start it by hand.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "tp-daemon", version, about = "The daemon behind `tp`. It is started by `tp connect`.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set the workstation up as root, become the invoking user, serve the control socket
    Run {
        /// What is written to the log
        #[arg(long, default_value = "info")]
        log_level: String,
    },
    /// Wait for the daemon's end, and remove what it left
    #[command(hide = true)]
    Janitor {
        /// Whom to run as
        #[arg(long)]
        uid: u32,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { log_level } => tp_daemon::process::run::<tp_daemon::workstation::Workstation>(&log_level),
        Command::Janitor { uid } => match tp_daemon::janitor::run(uid) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
    }
}
