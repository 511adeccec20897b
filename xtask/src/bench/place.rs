//! Where a command runs, and programs that do not outlive their owner.
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a server may take until it says that it is ready.
const READY: Duration = Duration::from_secs(30);
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Namespaces, as the words that enter them.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    entry: Vec<String>,
    env: Vec<String>,
}

impl Place {
    pub(crate) fn new(entry: Vec<String>) -> Self {
        Self { entry, env: Vec::new() }
    }

    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: &Path) -> Self {
        self.env.push(format!("{name}={}", value.display()));
        self
    }

    /// The command, not yet started; the child's pid is that of the program itself.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = Command::new(&self.entry[0]);
        // a clean environment, so that the invoker's KUBECONFIG or SUDO_UID changes nothing
        command.args(&self.entry[1..]).args(["env", "-i", PATH]).args(&self.env).args(words);
        command.stdin(Stdio::null());
        command
    }

    /// Standard output of a command that must succeed; what it says of a failure is the error.
    pub(crate) fn read<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<String> {
        let out = self.command(words).output().context("cannot start a program")?;
        let said = String::from_utf8_lossy(&out.stderr);
        if !out.status.success() {
            let why = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
            bail!("{} failed: {} {why}", shown(words), out.status);
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Starts a server, and waits for the first line of its standard output that has `word` in it.
    pub(crate) fn serve<S: AsRef<OsStr>>(
        &self,
        words: &[S],
        word: &str,
        log: &Path,
    ) -> Result<(Server, String)> {
        let (out, err) = (log.with_extension("out"), log.with_extension("log"));
        let mut command = self.command(words);
        command.stdout(File::create(&out)?).stderr(File::create(&err)?);
        let server = Server(command.spawn().context("cannot start a server")?);
        let started = Instant::now();
        while started.elapsed() < READY {
            let text = fs::read_to_string(&out).unwrap_or_default();
            let complete =
                text.lines().zip(text.split_inclusive('\n')).filter(|(_, raw)| raw.ends_with('\n'));
            if let Some((line, _)) = complete.into_iter().find(|(line, _)| line.contains(word)) {
                return Ok((server, line.to_owned()));
            }
            if super::proc::has_ended(server.pid()) {
                break;
            }
            sleep(Duration::from_millis(10));
        }
        bail!("{} does not serve: {}", shown(words), fs::read_to_string(&err).unwrap_or_default().trim())
    }
}

/// Killed when dropped, by its own pid.
#[derive(Debug)]
pub(crate) struct Server(Child);

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command line, its program without the directory, and without URLs: they may hold a token.
fn shown<S: AsRef<OsStr>>(words: &[S]) -> String {
    let program = words.first().and_then(|word| Path::new(word).file_name());
    let rest = words.iter().skip(1).map(AsRef::as_ref);
    let all = program.into_iter().chain(rest).map(|word| match word.to_string_lossy() {
        word if word.contains("://") => "URL".to_owned(),
        word => word.into_owned(),
    });
    all.collect::<Vec<_>>().join(" ")
}
