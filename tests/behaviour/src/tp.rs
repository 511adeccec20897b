//! The `tp` command line on a workstation, and its daemon as a process.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::place::{Done, Place};
use crate::process::eventually;
use crate::stage::Stage;

/// How long the host may take to be as it was: the promise.
pub const GONE_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Tp {
    tp: PathBuf,
    daemon: PathBuf,
    /// Arguments of every `tp connect`: the manager's URL, or a kubeconfig.
    connect: Vec<String>,
    place: Place,
}

impl Tp {
    /// `place` is the workstation as root.
    pub fn new(stage: &Stage, place: Place, connect: Vec<String>) -> Self {
        Self { tp: stage.bin("tp"), daemon: stage.bin("tp-daemon"), connect, place }
    }

    pub fn run(&self, words: &[&str]) -> Result<Done> {
        self.run_at(&self.place, words)
    }

    pub fn run_at(&self, place: &Place, words: &[&str]) -> Result<Done> {
        place.run(&self.words(words))
    }

    /// `tp WORDS` as a list, to be started elsewhere.
    pub fn words(&self, words: &[&str]) -> Vec<String> {
        let mut all = vec![self.tp.display().to_string()];
        all.extend(words.iter().map(ToString::to_string));
        all
    }

    /// `tp connect` with the site's arguments, then `more`.
    pub fn connect_words(&self, more: &[&str]) -> Vec<String> {
        let mut all = self.words(&["connect"]);
        all.extend(self.connect.clone());
        all.extend(more.iter().map(ToString::to_string));
        all
    }

    pub fn connect(&self, more: &[&str]) -> Result<Done> {
        self.place.run(&self.connect_words(more))
    }

    pub fn quit(&self) -> Result<String> {
        self.run(&["quit"])?.success()
    }

    pub fn status(&self) -> Result<Value> {
        let text = self.run(&["status", "--output", "json"])?.success()?;
        serde_json::from_str(&text).with_context(|| format!("status is not JSON: {text}"))
    }

    /// The daemon's pid: it runs from this stage's own copy of the program.
    pub fn daemon(&self) -> Result<u32> {
        self.but_janitors().next().context("no daemon is running")
    }

    fn but_janitors(&self) -> impl Iterator<Item = u32> + use<> {
        self.processes().into_iter().filter(|(_, line)| !line.contains("janitor")).map(|(pid, _)| pid)
    }

    /// Every process of ours with its command line, daemon and janitor alike.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let exe = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
        let ours = |path: &Path| path == self.daemon || path == self.tp;
        let line = |pid: u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        pids()
            .into_iter()
            .filter(|pid| exe(*pid).is_some_and(|path| ours(&path)))
            .map(|pid| (pid, String::from_utf8_lossy(&line(pid)).replace('\0', " ")))
            .collect()
    }

    /// Sends a signal to one process by its pid.
    pub fn signal(&self, pid: u32, signal: &str) -> Result<()> {
        let done =
            std::process::Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status()?;
        ensure!(done.success(), "cannot signal {pid}");
        Ok(())
    }

    /// Whatever state a case left: no daemon, no janitor. The janitor ends by itself: killed with the daemon it would leave
    /// what sockets with unsent data keep.
    pub fn force_quit(&self) -> Result<()> {
        for pid in self.but_janitors() {
            let _ = self.signal(pid, "KILL");
        }
        self.wait_gone()
    }

    pub fn wait_gone(&self) -> Result<()> {
        eventually(GONE_WITHIN, || match self.processes() {
            left if left.is_empty() => Ok(()),
            left => bail!("processes of ours are left: {left:?}"),
        })
    }

    /// The last lines of the daemon's log.
    pub fn log(&self) -> String {
        let file = "$HOME/.cache/tp/logs/daemon.log";
        let done = self.place.run(&["sh", "-c", &format!("tail -n 15 {file} 2>&1")]);
        done.map(|done| done.stdout).unwrap_or_default()
    }

    /// Ids of the kernel programs the daemon holds, from its descriptors.
    pub fn programs(&self) -> Result<BTreeSet<u32>> {
        let dir = format!("/proc/{}/fdinfo", self.daemon()?);
        let mut ids = BTreeSet::new();
        for entry in fs::read_dir(dir)?.flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let id = text.lines().find_map(|line| line.strip_prefix("prog_id:"));
            ids.extend(id.and_then(|id| id.trim().parse::<u32>().ok()));
        }
        Ok(ids)
    }
}

/// The kernel programs loaded at this moment, whoever owns them.
pub fn loaded_programs() -> BTreeSet<u32> {
    aya::programs::loaded_programs().filter_map(Result::ok).map(|program| program.id()).collect()
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
