//! A child process that does not outlive its owner.
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Killed when dropped, by its own pid.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    pub fn spawn(mut command: Command) -> Result<Self> {
        let shown = format!("{command:?}");
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {shown}"))?;
        Ok(Self(child))
    }

    /// Waits for the first line on standard output: how every server of ours says that it is ready.
    pub fn spawn_ready(mut command: Command) -> Result<(Self, String)> {
        let shown = format!("{command:?}");
        command.stdout(Stdio::piped());
        let mut guard = Self::spawn(command)?;
        let out = guard.0.stdout.take().context("standard output is piped")?;
        let (send, receive) = mpsc::channel();
        // goes on reading, so that a talkative server never blocks on a full pipe
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        match receive.recv_timeout(Duration::from_secs(10)) {
            Ok(line) => Ok((guard, line)),
            Err(_) => bail!("{shown} did not say that it is ready"),
        }
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has not ended by itself.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Tries until `what` holds or the time is over; the last error is the answer.
pub fn eventually<T>(within: Duration, mut what: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match what() {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() > within => {
                return Err(error.context(format!("still so after {within:?}")));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
