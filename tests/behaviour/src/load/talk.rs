//! A `tp-probe` that stops half-way, says how far it is, and goes on when it is told to.
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::site::Site;
use crate::standalone::Standalone;

const PATIENCE: Duration = Duration::from_secs(150);

/// Killed when dropped, by its own pid.
#[derive(Debug)]
pub(super) struct Talk {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    shown: String,
}

impl Talk {
    /// Starts it as an app on the workstation.
    pub(super) fn start(site: &Standalone, words: &str) -> Result<Self> {
        let words: Vec<&str> = words.split_whitespace().collect();
        let mut command = site.app().probe_command(&words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("standard input is piped")?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Ok(Self { child, stdin, lines, shown: words.join(" ") })
    }

    /// What it says next.
    pub(super) fn hear(&self) -> Result<Value> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => serde_json::from_str(&line).with_context(|| format!("{}: {line}", self.shown)),
            Err(_) => bail!("{} says nothing", self.shown),
        }
    }

    pub(super) fn go_on(&mut self) -> Result<()> {
        Ok(self.stdin.write_all(b"\n")?)
    }

    /// From its first stop to its end.
    pub(super) fn end(mut self) -> Result<Value> {
        self.hear()?;
        self.go_on()?;
        self.hear()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
