//! The stages of `cargo xtask test`, cheapest first.
use std::env;
use std::process::Command;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::summary::Summary;
use crate::{fuzz, machine, programs, setup, sh, tidy};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// rustfmt
    Format,
    /// the rules of the house
    Tidy,
    /// clippy, warnings are errors
    Lints,
    /// unit tests, and those of the dataplane in network namespaces
    Unit,
    /// every decoder, guided by coverage, for some seconds
    Fuzz,
    /// the programs from outside, with the standalone manager
    Behaviour,
    /// the benchmark, in short: every way works and is measured
    Bench,
    /// the kernel programs on Debian's 6.1 kernel
    Kernels,
    /// the programs from outside, on a real Kubernetes
    Kube,
}

/// Runs these stages, or all; whether everything passed.
pub(crate) fn run(only: &[Stage]) -> Result<bool> {
    let stages = if only.is_empty() { Stage::value_variants() } else { only };
    setup::build()?;
    setup::tests()?;
    run_tests_as_root();
    let mut summary = Summary::default();
    for stage in stages {
        stage.run(&mut summary);
    }
    Ok(summary.finish())
}

impl Stage {
    fn run(self, summary: &mut Summary) {
        match self {
            Self::Format => summary.check("format", || sh::run(&mut sh::cmd("cargo fmt --all --check"))),
            Self::Tidy => summary.check("tidy", tidy),
            Self::Lints => summary.check("lints", lints),
            Self::Unit => {
                let rest = "--workspace --exclude tests-behaviour --exclude tests-kube";
                summary.tests(
                    "unit and dataplane tests",
                    &mut sh::cmd(&format!("cargo test --no-fail-fast {rest}")),
                );
            }
            Self::Fuzz => fuzz(summary),
            Self::Behaviour => {
                summary.check("build", || programs::dev().map(drop));
                summary.tests("behaviour: the cases themselves, on plain routing", &mut behaviour("native"));
                summary.tests("behaviour: tp with the standalone manager", &mut behaviour("tp"));
                summary.tests(
                    "behaviour: the same with the userspace dataplane",
                    &mut behaviour("tp-userspace"),
                );
            }
            Self::Bench => summary.check("bench: every way works and is measured", bench),
            Self::Kernels => summary.check("kernel programs on Debian's 6.1", || {
                sh::run(
                    sh::root(&machine::root().join("tests/kernels/run.sh").display().to_string()).arg("6.1"),
                )
            }),
            Self::Kube => {
                summary.check("build", || programs::dev().map(drop));
                summary.check("a Kubernetes for the tests", setup::lab);
                summary.tests(
                    "chart: tp helm and the real helm take turns",
                    &mut sh::cmd("cargo test -p tp-cli --test helm_program -- --ignored"),
                );
                summary.tests(
                    "kube: tp on a real Kubernetes",
                    &mut with_resolvers("cargo test -p tests-kube --test kube"),
                );
            }
        }
    }
}

fn tidy() -> Result<()> {
    let broken = tidy::check(&machine::root())?;
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

fn lints() -> Result<()> {
    sh::run(&mut sh::cmd("cargo clippy --quiet --workspace --all-targets -- -D warnings"))
}

/// Long enough to go through what earlier runs have found, and a little on.
fn fuzz(summary: &mut Summary) {
    const SECONDS: u32 = 4;
    if let Err(error) = fuzz::stage(summary, &[], SECONDS) {
        summary.check("fuzz", || Err(error));
    }
}

/// How fast is no matter of a test.
fn bench() -> Result<()> {
    let (myself, programs) = (env::current_exe()?, programs::dev()?);
    let cases = "upload,download-8,round-trip,connect-64,udp-round-trip,udp-packets,dns,answered";
    let line = format!(
        "{} bench --quick --profile dev --programs {} --setting veth --only {cases}",
        myself.display(),
        programs.display()
    );
    sh::run(&mut sh::cmd(&line))
}

fn behaviour(subject: &str) -> Command {
    let mut command = with_resolvers("cargo test -p tests-behaviour --test behaviour");
    command.env("TP_SUBJECT", subject);
    command
}

fn with_resolvers(line: &str) -> Command {
    let mut command = sh::cmd(line);
    command.env("TP_RESOLVERS", setup::resolvers_dir());
    command
}

/// Test programs make namespaces. Cargo itself stays with the invoking user.
fn run_tests_as_root() {
    if machine::is_root() {
        return;
    }
    let path = env::var("PATH").unwrap_or_default();
    let runner = format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", env::consts::ARCH.to_uppercase());
    machine::set(&runner, format!("sudo -E env PATH={path}").as_ref());
}
