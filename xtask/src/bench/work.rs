//! The directory of one run. What a killed run left is removed by the next; its namespaces went with it.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

const PREFIX: &str = "work-";

#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new(beside: &Path) -> Result<Self> {
        for entry in fs::read_dir(beside)?.flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let owner = name.strip_prefix(PREFIX);
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let dir = beside.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
