//! The command line of `tp-daemon`, which `tp connect` writes and nobody types.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tp_core::invoker::Account;

use crate::backend::Backend;
use crate::dataplane::Choice;
use crate::{doctor, janitor, process};

#[derive(Debug, Parser)]
#[command(
    name = "tp-daemon",
    version,
    about = "The daemon behind `tp`; `tp connect` starts it, `tp quit` ends it"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set the workstation up as root, become the invoking user, and serve `tp`
    Run {
        #[command(flatten)]
        user: User,
        /// What is written to the log: error, warn, info, debug or trace
        #[arg(long, default_value = "info")]
        log_level: String,
        /// What moves the packets: auto, ebpf or userspace
        #[arg(long, default_value = "auto")]
        dataplane: Choice,
    },
    /// Wait for the daemon's end, and remove what it left
    Janitor {
        #[command(flatten)]
        user: User,
    },
    /// Try the kernel's part where nobody sees it, as root, and print checks for `tp doctor`
    Check,
    /// Look at this machine and the cluster of the request on stdin, as the invoking user, and print checks
    Doctor,
}

/// The invoking user. Name and home are in the environment.
#[derive(Debug, Args)]
struct User {
    #[arg(long)]
    uid: u32,
    #[arg(long)]
    gid: u32,
}

/// Does what the command line says, with `B` as the workstation.
pub fn run<B: Backend>() -> ExitCode {
    match Cli::parse().command {
        Command::Run { user, log_level, dataplane } => {
            process::run::<B>(user.account(), &log_level, dataplane)
        }
        // nobody reads what it would say
        Command::Janitor { user } => match janitor::run(&user.account()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Command::Check => doctor::as_root(),
        Command::Doctor => doctor::as_user(),
    }
}

impl User {
    fn account(&self) -> Account {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Account {
            uid: self.uid,
            gid: self.gid,
            name: variable("USER").unwrap_or_else(|| self.uid.to_string()),
            home: variable("HOME").unwrap_or_else(|| "/".to_owned()),
            shell: String::new(),
        }
    }
}
