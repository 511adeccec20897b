//! `tp-traffic`: starts the role that its first argument names.

use std::process::ExitCode;

use clap::Parser;
use tp_cluster::args::{Cli, Command};
use tp_cluster::report::report;
use tp_cluster::{limits, log, manager, sink};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Manager(args) => {
            let level = log::init(&args.log_level);
            limits::raise_open_files();
            finish(runtime().and_then(|runtime| runtime.block_on(manager::run(*args, level))))
        }
        Command::Sink(args) => {
            log::init(&args.log_level);
            limits::raise_open_files();
            finish(runtime().and_then(|runtime| runtime.block_on(sink::run(args.listen))))
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(tp_proto::workers())
        .enable_all()
        .build()?;
    runtime.spawn(tp_proto::memory::give_back_when_quiet());
    Ok(runtime)
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tp-traffic: {}", report(&error));
            ExitCode::FAILURE
        }
    }
}
