//! What `tp` itself can see: its daemon's program, a connection that stands, and whether it may become root.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use tp_core::doctor::{Check, Stage};

use crate::daemon;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Whether the daemon's program is there, and can be asked anything.
pub(super) fn program(program: &Path) -> (Check, bool) {
    const NAME: &str = "tp-daemon";
    const INSTALL: &str = "is tp installed completely? tp-daemon belongs beside tp, from the same release";
    let said = Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let version = match said {
        Ok(said) if said.status.success() => {
            let said = String::from_utf8_lossy(&said.stdout);
            said.trim().rsplit(' ').next().unwrap_or_default().to_owned()
        }
        Ok(said) => {
            let says = format!("{} does not tell its version: {}", program.display(), said.status);
            return (Check::fail(Stage::Tp, NAME, says, INSTALL), false);
        }
        Err(error) => {
            let says = format!("{}: {error}", program.display());
            return (Check::fail(Stage::Tp, NAME, says, INSTALL), false);
        }
    };
    if version == VERSION {
        (Check::ok(Stage::Tp, NAME, version), true)
    } else {
        let says = format!("{} is of version {version}, and tp of {VERSION}", program.display());
        (Check::fail(Stage::Tp, NAME, says, INSTALL), false)
    }
}

/// Whether root is here, or can be had.
pub(super) fn privileges() -> Check {
    const NAME: &str = "root";
    if geteuid().is_root() {
        return Check::ok(Stage::Tp, NAME, "yes");
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.lines().any(|line| line.strip_prefix("NoNewPrivs:").is_some_and(|set| set.trim() == "1")) {
        return Check::fail(
            Stage::Tp,
            NAME,
            "nothing started from here may become root (no_new_privs)",
            "use a shell that is not restricted; in a container, allowPrivilegeEscalation: true",
        );
    }
    if in_path("sudo") {
        let says = "not now: what takes root was not tried";
        Check::note(Stage::Tp, NAME, says, daemon::again_as_root())
    } else {
        let says = "not now, and there is no sudo: what takes root was not tried";
        Check::note(Stage::Tp, NAME, says, "run `tp doctor` as root, as `tp connect` has to be")
    }
}

/// Whether there is something already that a connect would find.
pub(super) async fn connection() -> Check {
    const NAME: &str = "connection";
    let mut daemon = match daemon::find().await {
        Ok(Some(daemon)) => daemon,
        Ok(None) => return Check::ok(Stage::Tp, NAME, "none yet"),
        Err(error) => {
            let text = crate::report::text(&error);
            let (says, hint) = text.split_once("\n\nhint: ").unwrap_or((&text, ""));
            let says = says.trim_start_matches("error: ").trim_end();
            return Check::fail(Stage::Tp, NAME, says, hint.trim_end());
        }
    };
    match daemon.client.status(()).await {
        Ok(status) => {
            let status = status.into_inner();
            let to = if status.context.is_empty() { status.server } else { status.context };
            let says = format!("there is one, {}, to {to}", status.state);
            Check::note(Stage::Tp, NAME, says, "`tp status` tells more, `tp quit` ends it")
        }
        Err(status) => {
            let says = format!("there is one, but not of yours: {}", status.message());
            Check::fail(Stage::Tp, NAME, says, "ask its owner to run `tp quit`")
        }
    }
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
