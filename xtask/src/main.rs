//! `cargo xtask`: set up the machine, build, test, measure, demonstrate. The only entry point beside cargo itself.
mod bench;
mod demo;
mod fuzz;
mod machine;
mod programs;
mod setup;
mod sh;
mod suites;
mod summary;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Set up, build, test, measure and demonstrate tp")]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Find or install what building needs; quick when all is there
    Setup {
        /// Also what the tests need: Go, a Kubernetes, other resolvers
        #[arg(long)]
        tests: bool,
    },
    /// Build tp, tp-daemon and tp-traffic for use
    Build,
    /// Every test: format, lints, unit, namespaces, behaviour, other kernels, Kubernetes
    Test {
        /// Only these stages
        #[arg(long = "only", value_name = "STAGE")]
        only: Vec<suites::Stage>,
    },
    /// The end-to-end suite on a real Kubernetes
    E2e,
    /// A program reaches a service by name, in network namespaces of its own
    Demo {
        /// Leave it up to play with
        #[arg(long)]
        keep: bool,
    },
    /// What each way to the cluster costs, side by side in one run, and which bars are met
    Bench(Box<bench::Options>),
    /// The tests named `fuzz_..` of every decoder and of the sessions, guided by coverage
    Fuzz {
        /// Only those whose names contain one of these
        targets: Vec<String>,
        /// For each of them
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// What the build machines run: set up for tests, then test
    Ci,
    /// Rules of the house that no compiler checks
    Tidy,
}

fn main() -> ExitCode {
    match run(Options::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<bool> {
    std::env::set_current_dir(machine::root())?;
    machine::extend_path();
    match task {
        Task::Setup { tests } => {
            setup::build()?;
            if tests {
                setup::tests()?;
            }
            Ok(true)
        }
        Task::Build => programs::release().map(|()| true),
        Task::Test { only } => suites::run(&only),
        Task::E2e => suites::run(&[suites::Stage::Kube]),
        Task::Demo { keep } => demo::run(keep).map(|()| true),
        Task::Bench(options) => bench::run(&options),
        Task::Fuzz { targets, seconds } => {
            setup::build()?;
            setup::fuzz()?;
            fuzz::run(&targets, seconds)
        }
        Task::Ci => suites::run(&[]),
        Task::Tidy => {
            let broken = tidy::check(&machine::root())?;
            broken.iter().for_each(|line| eprintln!("{line}"));
            Ok(broken.is_empty())
        }
    }
}
