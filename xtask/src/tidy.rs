//! Rules of the house that no compiler checks. Every broken rule is one line: `path: what is wrong`.
mod arrows;
mod files;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sh;

/// A file of the tree: path from the repository's root, and its text if it is text.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) text: Option<String>,
}

/// Checks what git would commit, and returns what is wrong with it.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let listed = sh::read(&mut sh::cmd("git ls-files --cached --others --exclude-standard"))?;
    let mut tree = Vec::new();
    for path in listed.lines().filter(|path| root.join(path).is_file()) {
        let bytes = fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        tree.push(Entry { path: path.to_owned(), text: String::from_utf8(bytes).ok() });
    }
    let mut broken = files::check(&tree);
    broken.extend(text::check(&tree));
    broken.extend(text::architecture(&tree, |path: &str| PathBuf::from(root).join(path).exists()));
    broken.extend(arrows::check(&tree));
    Ok(broken)
}
