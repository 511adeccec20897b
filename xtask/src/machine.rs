//! Where things are on this machine.
use std::env;
use std::path::{Path, PathBuf};

/// The repository.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// What is built once and kept: `$XDG_CACHE_HOME/tp`.
pub(crate) fn cache() -> PathBuf {
    let base = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    base.unwrap_or_else(|| home().join(".cache")).join("tp")
}

/// Programs of ours and for us: bpf-linker, helm.
pub(crate) fn tools() -> PathBuf {
    cache().join("tools")
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

pub(crate) fn is_root() -> bool {
    crate::sh::read(&mut crate::sh::cmd("id -u")).is_ok_and(|uid| uid.trim() == "0")
}

/// Adds the usual places of tools that a bare root shell may not have on its PATH.
pub(crate) fn extend_path() {
    let old = env::var_os("PATH").unwrap_or_default();
    let mut dirs = vec![tools().join("bin")];
    dirs.extend(env::split_paths(&old));
    dirs.extend(["/usr/local/go/bin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    if let Ok(path) = env::join_paths(dirs) {
        set("PATH", &path);
    }
}

/// Sets a variable of this process and all it starts.
#[expect(unsafe_code, reason = "the only way to change our own environment")]
pub(crate) fn set(name: &str, value: &std::ffi::OsStr) {
    // SAFETY: xtask has a single thread
    unsafe { env::set_var(name, value) }
}

fn home() -> PathBuf {
    env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from)
}
