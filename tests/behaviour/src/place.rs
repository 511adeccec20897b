//! Where a command runs: a network namespace, perhaps a mount namespace, perhaps another user.
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// How long any single command of a test may take.
const LIMIT: Duration = Duration::from_secs(180);

#[derive(Debug, Clone)]
pub struct Place {
    /// What goes before the command: `nsenter` and its arguments.
    entry: Vec<String>,
    env: Vec<(String, String)>,
    user: Option<u32>,
    probe: PathBuf,
}

/// A finished command.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    shown: String,
}

impl Place {
    /// `probe` is where `tp-probe` is found there.
    pub fn new(entry: Vec<String>, probe: PathBuf) -> Self {
        Self { entry, env: Vec::new(), user: None, probe }
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.into()));
        self
    }

    /// The same place as another user, with none of root's capabilities.
    #[must_use]
    pub fn user(mut self, uid: u32) -> Self {
        self.user = Some(uid);
        self
    }

    /// The command, not yet started; the child's pid is that of the program itself.
    pub fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = Command::new(&self.entry[0]);
        self.complete(&mut command, words);
        command
    }

    /// The same under a time limit.
    fn limited<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", &LIMIT.as_secs().to_string(), &self.entry[0]]);
        self.complete(&mut command, words);
        command
    }

    fn complete<S: AsRef<OsStr>>(&self, command: &mut Command, words: &[S]) {
        command.args(&self.entry[1..]);
        if let Some(uid) = self.user {
            command
                .arg("setpriv")
                .args([format!("--reuid={uid}"), format!("--regid={uid}")])
                .arg("--clear-groups");
        }
        // a clean environment, so that the invoker's SUDO_UID or KUBECONFIG changes nothing
        command.args(["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
        for (name, value) in &self.env {
            command.arg(format!("{name}={value}"));
        }
        command.args(words);
    }

    pub fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<Done> {
        let mut command = self.limited(words);
        let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
        Ok(Done::new(out, shown(words)))
    }

    /// Like `run`, and an error if the command fails.
    pub fn succeed<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<String> {
        self.run(words)?.success()
    }

    /// `tp-probe` with these words, not yet started.
    pub fn probe_command(&self, words: &[&str]) -> Command {
        let mut all = vec![self.probe.display().to_string()];
        all.extend(words.iter().map(ToString::to_string));
        self.command(&all)
    }

    /// `tp-probe` with these words; its JSON answer, also when it reports an error.
    pub fn probe(&self, words: &str) -> Result<Value> {
        let mut all = vec![self.probe.display().to_string()];
        all.extend(words.split_whitespace().map(str::to_owned));
        let done = self.run(&all)?;
        serde_json::from_str(done.stdout.trim())
            .with_context(|| format!("{} gave no JSON: {done:?}", shown(&all)))
    }
}

impl Done {
    fn new(out: Output, shown: String) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: out.status.code(), stdout: text(out.stdout), stderr: text(out.stderr), shown }
    }

    pub fn success(self) -> Result<String> {
        ensure!(
            self.code == Some(0),
            "{} ended with {:?}:\n{}{}",
            self.shown,
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self.stdout)
    }

    /// The error output of a command that must fail with this exit status.
    pub fn failure(self, code: i32) -> Result<String> {
        if self.code != Some(code) {
            bail!("{} ended with {:?}, not {code}:\n{}{}", self.shown, self.code, self.stdout, self.stderr);
        }
        Ok(self.stderr)
    }
}

fn shown<S: AsRef<OsStr>>(words: &[S]) -> String {
    words.iter().map(|word| word.as_ref().to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
