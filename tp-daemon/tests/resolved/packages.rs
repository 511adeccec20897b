//! systemd-resolved from Debian's packages, unpacked into the cache and never installed.

use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: [&str; 2] = ["systemd-resolved", "libsystemd-shared"];

pub(crate) struct Programs {
    root: PathBuf,
}

impl Programs {
    /// The reason if they cannot be had.
    pub(crate) fn get() -> Result<Self, String> {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
        let root = cache.ok_or("neither XDG_CACHE_HOME nor HOME is set")?.join("tp/resolved");
        let programs = Self { root };
        if !programs.daemon().exists() || !programs.resolvectl().exists() {
            programs.unpack()?;
        }
        Ok(programs)
    }

    pub(crate) fn daemon(&self) -> PathBuf {
        self.root.join("lib/systemd/systemd-resolved")
    }

    pub(crate) fn resolvectl(&self) -> PathBuf {
        self.root.join("usr/bin/resolvectl")
    }

    pub(crate) fn libraries(&self) -> PathBuf {
        self.root.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH)).join("systemd")
    }

    fn unpack(&self) -> Result<(), String> {
        std::fs::create_dir_all(&self.root).map_err(|error| format!("{}: {error}", self.root.display()))?;
        let run = |program: &str, words: &[&str]| {
            let done = Command::new(program).args(words).current_dir(&self.root).output();
            let done = done.map_err(|error| format!("{program}: {error}"))?;
            let text = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            done.status.success().then_some(()).ok_or(format!("{program} {words:?}: {text}"))
        };
        run("apt-get", &[&["download"], &PACKAGES[..]].concat())?;
        let entries = std::fs::read_dir(&self.root).map_err(|error| error.to_string())?;
        for package in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
            if package.ends_with(".deb") {
                run("dpkg", &["-x", &package, "."])?;
            }
        }
        Ok(())
    }
}
