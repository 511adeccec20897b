//! A workstation for one case: a network namespace, and `tp` in it.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) const URL: &str = "tp://good";
/// An account that exists everywhere, and one that does not.
pub(crate) const NOBODY: u32 = 65534;
pub(crate) const STRANGER: u32 = 54321;

pub(crate) struct Place {
    netns: String,
    pub(crate) home: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let netns = format!("tp-cli-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let done = Command::new("ip").args(["netns", "add", &netns]).status().unwrap();
        assert!(done.success(), "making the network namespace {netns}");
        Self { netns, home: tempfile::tempdir().unwrap() }
    }

    /// A program in the namespace, as root with a home of its own and an environment that says little.
    pub(crate) fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.netns)).arg(program).args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TP_DAEMON", own_program());
        command.env("HOME", self.home.path()).env("USER", "root");
        command
    }

    pub(crate) fn tp(&self, words: &[&str]) -> Command {
        self.command(env!("CARGO_BIN_EXE_tp"), words)
    }

    pub(crate) fn run(&self, words: &[&str]) -> Said {
        said(&self.tp(words).output().unwrap())
    }

    /// As `sudo` runs it for an account.
    pub(crate) fn run_by_sudo(&self, uid: u32, words: &[&str]) -> Said {
        let uid = uid.to_string();
        said(&self.tp(words).env("SUDO_UID", &uid).env("SUDO_GID", &uid).output().unwrap())
    }

    /// As an account itself. `nsenter` takes root, so it is told to change.
    pub(crate) fn run_as(&self, uid: u32, words: &[&str]) -> Said {
        let id = uid.to_string();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.netns))
            .args(["setpriv", "--reuid", &id, "--regid", &id]);
        command.args(["--clear-groups", env!("CARGO_BIN_EXE_tp")]).args(words);
        said(&command.env("TP_DAEMON", own_program()).output().unwrap())
    }

    pub(crate) fn connect(&self) {
        let said = self.run(&["connect", "--manager", URL]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }

    /// Pid of the daemon, by what the status says.
    pub(crate) fn daemon(&self) -> i32 {
        let said = self.run(&["status", "--output", "json"]);
        let status: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        status["daemon"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).unwrap()
    }

    /// Every process of this namespace with its command line.
    pub(crate) fn processes(&self) -> Vec<(i32, String)> {
        let output = Command::new("ip").args(["netns", "pids", &self.netns]).output().unwrap();
        let pids = String::from_utf8(output.stdout).unwrap();
        let line = |pid: &str| {
            let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (pid.parse().unwrap(), String::from_utf8_lossy(&bytes).replace('\0', " "))
        };
        pids.lines().map(line).filter(|(_, line)| !line.is_empty()).collect()
    }

    pub(crate) fn janitor(&self) -> i32 {
        self.processes().into_iter().find(|(_, line)| line.contains(" janitor ")).unwrap().0
    }

    pub(crate) fn has_pair(&self) -> bool {
        self.command("ip", &["link", "show", "tpv"]).output().unwrap().status.success()
    }

    /// No process and no interface of ours is left, now or soon.
    pub(crate) fn becomes_clean(&self) {
        eventually(|| {
            let left = self.processes();
            assert!(left.is_empty() || Instant::now() < deadline(), "left: {left:?}");
            left.is_empty() && !self.has_pair()
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        let _ = Command::new("ip").args(["netns", "del", &self.netns]).status();
    }
}

/// Binds the control socket's name, says so, and waits.
pub(crate) fn squat() -> ExitCode {
    let _listener = tp_proto::control::listen().unwrap();
    println!("bound");
    std::thread::sleep(Duration::from_secs(60));
    ExitCode::SUCCESS
}

/// A squatter in `place`, of another account.
pub(crate) fn squatter(place: &Place) -> Command {
    let id = STRANGER.to_string();
    let program = own_program().display().to_string();
    let mut command =
        place.command("setpriv", &["--reuid", &id, "--regid", &id, "--clear-groups", &program, "squat"]);
    command.process_group(0);
    command
}

pub(crate) fn eventually(mut holds: impl FnMut() -> bool) {
    let until = deadline();
    while !holds() {
        assert!(Instant::now() < until, "it did not become so");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn own_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

pub(crate) fn said(output: &Output) -> Said {
    Said {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
