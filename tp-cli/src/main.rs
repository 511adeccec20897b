//! `tp`: the command line.

use clap::{Parser, Subcommand};
use tp_cli::{helm, kube_flags::KubeFlags, report};

/// Join the network of a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(name = "tp", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    kube: KubeFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install, upgrade or remove the cluster side, with no helm program needed.
    Helm(helm::HelmArgs),
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Helm(args) => helm::run(args, cli.kube).await,
    };
    report::exit_code(result)
}
