//! The developer's machine: a network namespace, and a mount namespace with resolver files of its own.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::netns::Netns;
use crate::place::Place;
use crate::process::Guard;

/// The user who invokes `sudo tp connect`; no such account needs to exist.
pub const USER: u32 = 41234;

/// Keeps the mount namespace alive. The machine's own name service is out of reach inside: its D-Bus and systemd sockets are
/// hidden, its resolver files replaced.
const HOLD: &str = r#"
for d in /run/dbus /run/systemd /run/nscd /var/run/nscd; do [ -d "$d" ] && mount -t tmpfs none "$d"; done
f=$(readlink -m /etc/resolv.conf); mkdir -p "$(dirname "$f")"; [ -e "$f" ] || : >"$f"
mount --bind "$1/resolv.conf" "$f" && mount --bind "$1/hosts" /etc/hosts && mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf || exit 1
echo ready; exec sleep infinity
"#;

#[derive(Debug)]
pub struct Workstation {
    // dropped first: the namespace is deleted after its last process
    holder: Guard,
    netns_path: PathBuf,
    dir: PathBuf,
    probe: PathBuf,
}

impl Workstation {
    /// `dir` holds the replaced files; `probe` is the staged `tp-probe`.
    pub fn new(netns_path: &Path, dir: &Path, resolv_conf: &str, probe: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        fs::write(dir.join("resolv.conf"), resolv_conf)?;
        fs::write(dir.join("hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
        fs::write(dir.join("nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n")?;
        let mut command = std::process::Command::new("nsenter");
        command.arg(format!("--net={}", netns_path.display()));
        command.args(["unshare", "--mount", "--propagation", "private", "sh", "-c", HOLD, "hold"]).arg(dir);
        let (holder, _) =
            Guard::spawn_ready(command).context("cannot make the workstation's mount namespace")?;
        Ok(Self { holder, netns_path: netns_path.into(), dir: dir.into(), probe: probe.into() })
    }

    pub fn of(netns: &Netns, dir: &Path, resolv_conf: &str, probe: &Path) -> Result<Self> {
        Self::new(&netns.path(), dir, resolv_conf, probe)
    }

    /// Programs here run as root, unless the caller says otherwise.
    pub fn place(&self) -> Place {
        let entry = vec![
            "nsenter".into(),
            format!("--net={}", self.netns_path.display()),
            format!("--mount=/proc/{}/ns/mnt", self.holder.pid()),
            "--".into(),
        ];
        Place::new(entry, self.probe.clone()).env("HOME", &self.dir.display().to_string())
    }

    /// A process that lives in all of the workstation's namespaces.
    pub fn pid(&self) -> u32 {
        self.holder.pid()
    }

    /// Replaces the resolver configuration in place, as a network manager would.
    pub fn set_resolv_conf(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.dir.join("resolv.conf"), text)?)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
