//! The commands of `tp` and their flags.

use std::process::ExitCode;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::bench::{self, BenchArgs};
use crate::config::{self, ConfigCommand};
use crate::connect::ConnectArgs;
use crate::kube_flags::KubeFlags;
use crate::output::Output;
use crate::{completion, connect, doctor, helm, maps, quit, report, status, version};

/// Join the network of a Kubernetes cluster
///
/// `sudo tp connect` makes the cluster's services and pods reachable from every program on this machine, by name and
/// by address. `tp quit` leaves the machine as it was.
#[derive(Debug, Parser)]
#[command(name = "tp", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How data is written to stdout
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage. `tp connect -- CMD` returns CMD's own code, or 128 and the number of the \
signal that ended it.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Connect this machine to a cluster (needs root to start)
    Connect(Box<ConnectArgs>),
    /// Tell whether this machine is connected, to what, and how it is doing
    ///
    /// Being told is success: the exit code is 0 with and without a connection. Scripts read `--output json`, where
    /// `state` is `disconnected`, `starting`, `connecting`, `connected`, `reconnecting` or `quitting`.
    Status,
    /// Disconnect, and leave the machine as it was
    Quit,
    /// Look at this machine and the cluster, and say what `tp connect` with the same flags would do
    ///
    /// Nothing is changed. With sudo the kernel's part is tried for real, where nobody sees it. The exit code is 0 if
    /// nothing stands in the way, and 1 if something does.
    #[command(mut_arg("command", |arg| arg.hide(true)), mut_arg("log_level", |arg| arg.hide(true)))]
    Doctor(Box<ConnectArgs>),
    /// Measure how fast this machine reaches the cluster, or any server
    ///
    /// Without --sink and --address it is measured against a sink that the connected manager opens for it.
    Bench(BenchArgs),
    /// Print the versions of tp, its daemon and the manager
    Version,
    /// Print the configuration, and where it comes from
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look into the kernel programs' maps
    Maps {
        #[command(subcommand)]
        command: MapsCommand,
    },
    /// Install, upgrade or remove the cluster side; no helm program is needed
    Helm(Box<HelmCommand>),
    /// Print the completion script of a shell
    Completion { shell: clap_complete::Shell },
}

#[derive(Debug, Subcommand)]
enum MapsCommand {
    /// Print the entries of all maps, or of one
    Dump {
        /// Name of the map: flows, vips, nat, recursion, outcomes, ...
        map: Option<String>,
    },
}

#[derive(Debug, Args)]
struct HelmCommand {
    #[command(flatten)]
    kube: KubeFlags,
    #[command(flatten)]
    helm: helm::HelmArgs,
}

/// Does what the command line says.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    let output = cli.output;
    let result: Result<ExitCode> = match cli.command {
        Command::Connect(args) => connect::run(*args, output).await,
        Command::Status => done(status::run(output).await),
        Command::Quit => done(quit::run(output).await),
        Command::Doctor(args) if args.has_command() => {
            Cli::command().error(ErrorKind::UnknownArgument, "`tp doctor` runs no command").exit()
        }
        Command::Doctor(args) => doctor::run(&args, output).await,
        Command::Bench(args) => {
            let wrong = |kind, text: String| {
                let mut cli = Cli::command();
                cli.build();
                let error = cli.find_subcommand_mut("bench").map(|bench| bench.error(kind, text));
                drop(error.map(|error| error.print()));
            };
            bench::run(args, output, wrong).await
        }
        Command::Version => done(version::run(output).await),
        Command::Config { command } => done(config::run(command, output).await),
        Command::Maps { command: MapsCommand::Dump { map } } => done(maps::dump(map, output).await),
        Command::Helm(command) => done(helm::run(command.helm, command.kube).await),
        Command::Completion { shell } => done(completion::print(shell)),
    };
    match result {
        Ok(code) => code,
        Err(error) => report::exit_code(Err(error)),
    }
}

fn done(result: Result<()>) -> Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS)
}
