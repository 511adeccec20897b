//! Counts of all stages, from the lines test programs end with.
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

#[derive(Debug, Default)]
pub(crate) struct Summary {
    passed: u32,
    failed: u32,
    skipped: u32,
    broken: Vec<String>,
}

impl Summary {
    /// A stage that is a single check.
    pub(crate) fn check(&mut self, name: &str, run: impl FnOnce() -> Result<()>) {
        eprintln!("\n== {name}");
        match run() {
            Ok(()) => self.passed += 1,
            Err(error) => self.fail(name, &error),
        }
    }

    /// Test programs, whose result lines are counted.
    pub(crate) fn tests(&mut self, name: &str, command: &mut Command) {
        eprintln!("\n== {name}");
        match self.count(command) {
            Ok(true) => {}
            Ok(false) => self.broken.push(name.to_owned()),
            Err(error) => self.fail(name, &error),
        }
    }

    /// Prints the totals; whether nothing failed.
    pub(crate) fn finish(&self) -> bool {
        println!();
        self.broken.iter().for_each(|name| println!("failed: {name}"));
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
        self.failed == 0 && self.broken.is_empty()
    }

    fn fail(&mut self, name: &str, error: &anyhow::Error) {
        eprintln!("error: {error:#}");
        self.failed += 1;
        self.broken.push(name.to_owned());
    }

    fn count(&mut self, command: &mut Command) -> Result<bool> {
        let mut child =
            command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {command:?}"))?;
        let out = child.stdout.take().context("standard output is piped")?;
        let mut counted_failures = 0;
        for line in BufReader::new(out).lines() {
            let line = line?;
            println!("{line}");
            if let Some(result) = line.strip_prefix("test result: ") {
                self.passed += number(result, "passed");
                self.skipped += number(result, "ignored");
                counted_failures += number(result, "failed");
            }
        }
        let good = child.wait()?.success();
        // one that died, or did not compile, counts too
        self.failed += if good { counted_failures } else { counted_failures.max(1) };
        Ok(good)
    }
}

/// The number before `word` in `ok. 26 passed; 3 failed; ...`.
fn number(line: &str, word: &str) -> u32 {
    let before = |part: &str| part.trim().strip_suffix(word)?.trim().rsplit(' ').next()?.parse().ok();
    line.split(';').find_map(before).unwrap_or(0)
}
