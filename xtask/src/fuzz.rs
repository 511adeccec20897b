//! `cargo xtask fuzz`: the tests named `fuzz_..`, each guided by coverage for a while.
//!
//! They are bolero's: under `cargo test` their inputs are random. `cargo bolero test NAME` does what this does, for one of
//! them and with a build of every test program of the crate, those of the namespaces too.
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::summary::Summary;
use crate::{machine, sh};

/// The crates that have such tests: a test program without one lacks the engine that its code is to be counted for.
const PROGRAMS: &str = "-p tp-core -p tp-proto -p tp-daemon --lib";
/// Those of `cargo bolero` for libFuzzer. No sanitizer: what is read here is safe Rust, and they need a nightly compiler.
const FLAGS: &str = "--cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";
/// An input that takes longer is a finding.
const SLOW: u32 = 10;
/// How libFuzzer's last line begins: `Done 21734 runs in 6 second(s)`.
const DONE: &str = "Done ";

/// A test program, and one test in it.
struct Target {
    program: PathBuf,
    test: String,
}

/// Each whose name contains one of `filters`, or all; whether none found anything.
pub(crate) fn run(filters: &[String], seconds: u32) -> Result<bool> {
    let mut summary = Summary::default();
    stage(&mut summary, filters, seconds)?;
    Ok(summary.finish())
}

pub(crate) fn stage(summary: &mut Summary, filters: &[String], seconds: u32) -> Result<()> {
    let targets = targets(filters)?;
    ensure!(!targets.is_empty(), "no test `fuzz_..` has such a name: {}", filters.join(", "));
    for target in targets {
        summary.check(&format!("fuzz: {}", target.test), || target.run(seconds));
    }
    Ok(())
}

fn targets(filters: &[String]) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for program in build()? {
        for line in sh::read(Command::new(&program).args(["--list", "fuzz_"]))?.lines() {
            let Some(test) = line.strip_suffix(": test") else { continue };
            if filters.is_empty() || filters.iter().any(|filter| test.contains(filter.as_str())) {
                targets.push(Target { program: program.clone(), test: test.to_owned() });
            }
        }
    }
    Ok(targets)
}

/// The test programs.
fn build() -> Result<Vec<PathBuf>> {
    let triple = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let dir = machine::target().join("fuzz");
    // with `--target` the flags do not reach build scripts and macros
    let line = format!(
        "cargo test --quiet --no-run --message-format json-render-diagnostics {PROGRAMS} --profile fuzz --target {triple} --target-dir {}",
        dir.display()
    );
    eprintln!("+ {line}");
    let said = sh::read(sh::cmd(&line).env("RUSTFLAGS", FLAGS))?;
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let tests = messages.filter(|message| message["profile"]["test"] == true);
    Ok(tests.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).collect())
}

impl Target {
    fn run(&self, seconds: u32) -> Result<()> {
        let [corpus, crashes] = ["corpus", "crashes"].map(|kind| self.kept(kind));
        for dir in [&corpus, &crashes] {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        // those that were found before come first
        let engine = format!(
            "{} {} -artifact_prefix={}/ -timeout={SLOW} -max_total_time={seconds}",
            corpus.display(),
            crashes.display(),
            crashes.display()
        );
        let mut command = Command::new(&self.program);
        command.args([&self.test, "--exact", "--nocapture", "--quiet", "--test-threads", "1"]);
        command.env("BOLERO_TEST_NAME", &self.test).env("BOLERO_LIBTEST_HARNESS", "1");
        let out = command.env("BOLERO_LIBFUZZER_ARGS", engine).output().context("cannot start the fuzzer")?;
        let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        let done = said.lines().find(|line| line.starts_with(DONE));
        ensure!(
            out.status.success() && done.is_some(),
            "{said}\n\nhint: the input is kept in {}; `cargo xtask fuzz {}` begins with it",
            crashes.display(),
            self.test
        );
        eprintln!("{}", done.unwrap_or_default());
        Ok(())
    }

    /// Survives the checkout, as inputs that lead far are dear.
    fn kept(&self, kind: &str) -> PathBuf {
        let name = self.program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let program = name.rsplit_once('-').map_or(name.as_str(), |(name, _hash)| name).to_owned();
        machine::cache().join("fuzz").join(program).join(self.test.replace("::", ".")).join(kind)
    }
}
