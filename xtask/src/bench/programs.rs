//! The programs of a run: a copy of their own, so that a build meanwhile changes nothing.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

#[derive(Debug, Clone)]
pub(crate) struct Programs(PathBuf);

impl Programs {
    /// Copies those that are there from `from` to below `to`.
    pub(crate) fn stage(from: &Path, to: &Path) -> Result<Self> {
        let to = to.join("programs");
        fs::create_dir_all(&to)?;
        for program in ["tp", "tp-daemon", "tp-traffic", "tp-probe"] {
            fs::copy(from.join(program), to.join(program))
                .with_context(|| format!("no {program} in {}", from.display()))?;
        }
        Ok(Self(to))
    }

    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.0.join(program)
    }

    /// The same as a word of a command line.
    pub(crate) fn word(&self, program: &str) -> String {
        self.path(program).display().to_string()
    }
}
