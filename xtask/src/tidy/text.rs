//! What no file may contain, and that ARCHITECTURE.md names only what exists.
use super::Entry;

/// Paths that exist only on the machine they were written on.
const MACHINE: &[&str] = &["/root/.cache", "/root/.cargo", "/work/main", "/work/shared"];

/// Places packages come from: a mirror's name says where we build, and a lock file has the official ones.
const REGISTRY: &[&str] = &["registry+https", "index.crates.io-", "goproxy", "artifactory", "nexus3"];

/// The list above names them itself.
const EXEMPT: &[&str] = &["xtask/src/tidy/text.rs"];

pub(super) fn check(tree: &[Entry]) -> Vec<String> {
    let mut broken = Vec::new();
    for Entry { path, text } in tree.iter().filter(|entry| !EXEMPT.contains(&entry.path.as_str())) {
        let Some(text) = text else {
            broken.push(format!("{path}: not text; nothing compiled is committed"));
            continue;
        };
        let lock = path.ends_with(".lock");
        for (number, line) in text.lines().enumerate() {
            for word in MACHINE.iter().filter(|word| line.contains(**word)) {
                broken.push(format!("{path}:{}: {word} is a path of one machine", number + 1));
            }
            let official = lock && line.contains("registry+https://github.com/rust-lang/crates.io-index");
            for word in REGISTRY.iter().filter(|word| line.contains(**word) && !official) {
                broken.push(format!("{path}:{}: {word} names a package registry", number + 1));
            }
            if path.ends_with(".rs") && line.trim_start().starts_with("#[allow(") {
                broken.push(format!("{path}:{}: `#[expect(.., reason = ..)]` in place of allow", number + 1));
            }
        }
    }
    broken
}

/// Every `path/to/file.rs` and `crate/dir/` in ARCHITECTURE.md exists.
pub(super) fn architecture(tree: &[Entry], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let Some(text) = tree.iter().find(|e| e.path == "ARCHITECTURE.md").and_then(|e| e.text.as_deref()) else {
        return vec!["ARCHITECTURE.md: missing".into()];
    };
    let quoted = text.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|word| {
        word.contains('/') && !word.contains([' ', '<', '*', '{', ':']) && !word.starts_with(['/', '~', '.'])
    });
    let looks_like_ours = |path: &&str| {
        path.ends_with('/') || path.ends_with(".rs") || path.ends_with(".sh") || path.ends_with(".toml")
    };
    paths
        .filter(looks_like_ours)
        .filter(|path| !exists(path))
        .map(|path| format!("ARCHITECTURE.md: {path} does not exist"))
        .collect()
}
