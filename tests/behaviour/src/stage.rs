//! The programs under test, copied to a directory that every user can read and whose path no other process runs from.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

#[derive(Debug)]
pub struct Stage {
    dir: TempDir,
}

impl Stage {
    /// Copies `programs` from `$TP_BIN_DIR`, or from where this test was built.
    pub fn new(programs: &[&str]) -> Result<Self> {
        let from = built()?;
        let dir = tempfile::Builder::new().prefix("tp-test-").tempdir()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        fs::create_dir(dir.path().join("bin"))?;
        for program in programs {
            let (source, target) = (from.join(program), dir.path().join("bin").join(program));
            fs::create_dir_all(target.parent().context("a file has a directory")?)?;
            fs::copy(&source, target).with_context(|| {
                format!("cannot copy {}\n\nhint: build it first, or run `cargo xtask test`", source.display())
            })?;
        }
        Ok(Self { dir })
    }

    pub fn bin(&self, program: &str) -> PathBuf {
        self.dir.path().join("bin").join(program)
    }

    /// A new directory for one run's files.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// The directory the programs were built into: this test lies in its `deps`.
fn built() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("TP_BIN_DIR") {
        return Ok(dir.into());
    }
    let test = std::env::current_exe()?;
    Ok(test.ancestors().nth(2).context("the test is not in a build directory")?.to_owned())
}
