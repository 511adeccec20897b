//! Network namespaces with unique names, deleted when dropped.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

const PREFIX: &str = "tpb";
static NEXT: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// An empty namespace with loopback up.
    pub fn new(role: &str) -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}-{role}", std::process::id());
        ip(&["netns", "add", &name])?;
        let netns = Self { name };
        netns.ip("link set lo up")?;
        // addresses are usable at once, and nothing appears later that a comparison would trip over
        netns.sysctl("net.ipv6.conf.all.accept_dad=0")?;
        netns.sysctl("net.ipv6.conf.default.accept_dad=0")?;
        Ok(netns)
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip` in this namespace, words separated by blanks.
    pub fn ip(&self, words: &str) -> Result<()> {
        let mut all = vec!["-n", &self.name];
        all.extend(words.split_whitespace());
        ip(&all)
    }

    pub fn sysctl(&self, setting: &str) -> Result<()> {
        run(self.enter().args(["sysctl", "-qw", setting]))
    }

    /// Loads an nftables rule set.
    pub fn nft(&self, rules: &str) -> Result<()> {
        run(self.enter().args(["nft", rules]))
    }

    /// A veth pair from `name` here to `peer_name` in `peer`, both ends up.
    pub fn veth(&self, name: &str, peer: &Self, peer_name: &str) -> Result<()> {
        self.ip(&format!("link add {name} type veth peer name {peer_name} netns {}", peer.name))?;
        self.ip(&format!("link set {name} up"))?;
        peer.ip(&format!("link set {peer_name} up"))
    }

    /// A command line that starts in this namespace (only the network one).
    pub fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--");
        command
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// Removes what a killed run of the tests left.
pub fn sweep() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

fn ip(words: &[&str]) -> Result<()> {
    run(Command::new("ip").args(words))
}

fn run(command: &mut Command) -> Result<()> {
    let out = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}
