//! Size, opening line, module files, and where unsafe code may be.
use super::Entry;

const LONGEST: usize = 400;

/// The only files with unsafe code. Each says at its head why.
const UNSAFE: &[&str] = &[
    "tp-daemon/src/dataplane/sys.rs",
    "tp-daemon/src/dataplane/userspace/memory.rs",
    "tp-daemon/src/process/inherited.rs",
    "tp-proto/src/memory.rs",
    "xtask/src/machine.rs",
];

/// Everything in the kernel programs works on raw packet memory; the contract's types promise to be plain bytes.
const UNSAFE_BELOW: &[&str] = &["tp-ebpf/src/", "tp-common/src/"];

/// This file spells the forms it looks for.
const SELF: &str = "xtask/src/tidy/files.rs";

pub(super) fn check(tree: &[Entry]) -> Vec<String> {
    let mut broken = Vec::new();
    for Entry { path, text } in tree.iter().filter(|entry| entry.path.ends_with(".rs")) {
        let Some(text) = text else { continue };
        let lines = text.lines().count();
        if lines > LONGEST {
            broken.push(format!("{path}: {lines} lines, at most {LONGEST}: it holds more than one idea"));
        }
        if !text.starts_with("//! ") && !text.starts_with("#!") {
            broken.push(format!("{path}: does not open with a `//!` line that says what it is"));
        }
        if path.ends_with("/mod.rs") {
            broken.push(format!("{path}: foo.rs beside foo/, not foo/mod.rs"));
        }
        if path != SELF
            && uses_unsafe(text)
            && !UNSAFE.contains(&path.as_str())
            && !UNSAFE_BELOW.iter().any(|dir| path.starts_with(dir))
        {
            broken.push(format!(
                "{path}: unsafe code; use a safe wrapper, or list the file in xtask/src/tidy/files.rs"
            ));
        }
    }
    broken.extend(stale(tree));
    broken
}

/// A listed file that no longer needs it would hide the next one.
fn stale(tree: &[Entry]) -> Vec<String> {
    let needs =
        |file: &str| tree.iter().any(|e| e.path == file && e.text.as_deref().is_some_and(uses_unsafe));
    let stale = UNSAFE.iter().filter(|file| !needs(file));
    stale.map(|file| format!("xtask/src/tidy/files.rs: lists {file}, which has no unsafe code")).collect()
}

fn uses_unsafe(text: &str) -> bool {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.match_indices("unsafe ").map(move |(at, _)| &line[at..])).any(|rest| {
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|form| rest.starts_with(form))
    })
}
