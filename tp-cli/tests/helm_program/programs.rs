//! The programs under comparison, and what they answer.

use crate::api_server::ApiServer;
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

pub(crate) struct Answer {
    pub(crate) success: bool,
    pub(crate) stderr: String,
    stdout: String,
    what: String,
}

impl Answer {
    /// stdout of a run that succeeded.
    pub(crate) fn ok(self) -> String {
        assert!(self.success, "{} failed:\n{}", self.what, self.stderr);
        self.stdout
    }
}

/// Our own program.
pub(crate) fn tp(args: &[&str], more: &[&str], api: Option<&ApiServer>) -> Answer {
    run(Path::new(env!("CARGO_BIN_EXE_tp")), args, more, api)
}

/// The helm program.
pub(crate) fn helm(args: &[&str], more: &[&str], api: Option<&ApiServer>) -> Answer {
    run(&cache().join("tools/bin/helm"), args, more, api)
}

pub(crate) fn chart() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../tp-cluster/chart").to_owned()
}

/// Where `cargo xtask setup` puts what it builds.
pub(crate) fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("tp")
}

/// A values file that lives as long as this.
pub(crate) struct Values(tempfile::NamedTempFile);

impl Values {
    pub(crate) fn file(text: &str) -> Self {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("writing a temporary file");
        Self(file)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().expect("UTF-8")
    }
}

fn run(program: &Path, args: &[&str], more: &[&str], api: Option<&ApiServer>) -> Answer {
    let nothing = tempfile::tempdir().expect("a temporary directory");
    let kubeconfig = api.map_or_else(|| nothing.path().join("none"), ApiServer::kubeconfig);
    let output = Command::new(program)
        .args(args)
        .args(more)
        .env("KUBECONFIG", kubeconfig)
        .env("HELM_CACHE_HOME", nothing.path())
        .env("HELM_CONFIG_HOME", nothing.path())
        .env("HELM_DATA_HOME", nothing.path())
        .env_remove("TELEPRESENCE_MANAGER_NAMESPACE")
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; cargo xtask setup builds it", program.display()));
    Answer {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        what: format!("{} {}", program.display(), args.join(" ")),
    }
}
