//! Starting the daemon, which takes root.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow};
use nix::unistd::geteuid;
use tp_core::invoker::Account;

use crate::invoker;
use crate::report::{Advice, with_hint};

/// What the daemon says on stdout when it serves.
const LISTENING: &str = "listening";
/// What it says when another one does.
const TAKEN: &str = "taken";
/// Names the daemon's program, for tests.
const PROGRAM_VARIABLE: &str = "TP_DAEMON";

/// Variables that matter for reaching a cluster and that sudo does not keep by itself.
const KEPT: &[&str] = &[
    "KUBECONFIG",
    "XDG_CONFIG_HOME",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// Only root may start a daemon; the error says how to become it, with the very same arguments.
pub fn needs_root() -> Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    Err(with_hint(anyhow!("root is needed to set up the network of this machine"), again_as_root()))
}

/// This very command, with sudo before it.
pub fn again_as_root() -> String {
    let words: Vec<OsString> = std::env::args_os().collect();
    let kept: Vec<&str> = KEPT.iter().copied().filter(|name| std::env::var_os(name).is_some()).collect();
    sudo(&words, &kept)
}

/// Starts a daemon for `account` and waits until it serves; false if another one does already.
pub async fn start(account: &Account, log_level: &str, dataplane: &str) -> Result<bool> {
    let program = program()?;
    let mut command = Command::new(&program);
    command
        .args(["run", "--log-level", log_level, "--dataplane", dataplane])
        .args(["--uid", &account.uid.to_string(), "--gid", &account.gid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    invoker::furnish(&mut command, account);
    let said = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut daemon = command.spawn()?;
        let mut said = String::new();
        if let Some(mut stdout) = daemon.stdout.take() {
            stdout.read_to_string(&mut said)?;
        }
        Ok(said)
    });
    let said = said
        .await
        .context("starting the daemon")?
        .with_context(|| format!("starting {}", program.display()))
        .hint("is tp installed completely? tp-daemon belongs beside tp")?;
    match said.trim_end() {
        LISTENING => Ok(true),
        TAKEN => Ok(false),
        "" => Err(anyhow!("it ended at once").context("starting the daemon")).hint(super::SEE_LOG),
        error => {
            let (message, hint) = error.split_once("\n\nhint: ").unwrap_or((error, super::SEE_LOG));
            Err(with_hint(anyhow!(message.to_owned()), hint))
        }
    }
}

/// `tp-daemon` beside our own program, or else in the PATH.
pub fn program() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os(PROGRAM_VARIABLE) {
        return Ok(program.into());
    }
    let own = std::env::current_exe().context("finding our own program")?;
    let beside = own.with_file_name("tp-daemon");
    Ok(if beside.exists() { beside } else { PathBuf::from("tp-daemon") })
}

/// The same command line, with sudo before it.
fn sudo(words: &[OsString], kept: &[&str]) -> String {
    let mut line = vec!["sudo".to_owned()];
    if !kept.is_empty() {
        line.push(format!("--preserve-env={}", kept.join(",")));
    }
    let own = std::env::current_exe().ok();
    let (program, rest) = words.split_first().map_or((None, words), |(program, rest)| (Some(program), rest));
    line.push(quoted(&program_for_sudo(program.map(Path::new), own.as_deref())));
    line.extend(rest.iter().map(|word| quoted(&word.to_string_lossy())));
    line.join(" ")
}

/// What to type: sudo does not search the user's PATH, so a program elsewhere needs its full path.
fn program_for_sudo(typed: Option<&Path>, own: Option<&Path>) -> String {
    const SECURE_PATH: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
    match (typed, own) {
        (Some(typed), Some(own)) if typed.components().count() == 1 => {
            let found =
                own.parent().is_some_and(|directory| SECURE_PATH.iter().any(|at| Path::new(at) == directory));
            if found { typed.display().to_string() } else { own.display().to_string() }
        }
        (Some(typed), _) => typed.display().to_string(),
        (None, _) => "tp".to_owned(),
    }
}

/// As a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_can_be_pasted() {
        let words = ["/opt/tp", "connect", "--context", "it's mine", "--manager", "tp://t@h:1?pin=x"]
            .map(OsString::from);
        assert_eq!(
            sudo(&words, &["KUBECONFIG", "no_proxy"]),
            r"sudo --preserve-env=KUBECONFIG,no_proxy /opt/tp connect --context 'it'\''s mine' --manager 'tp://t@h:1?pin=x'"
        );
    }

    #[test]
    fn a_program_that_sudo_does_not_find_is_named_in_full() {
        let shown = |typed: &str, own: &str| program_for_sudo(Some(Path::new(typed)), Some(Path::new(own)));
        assert_eq!(shown("tp", "/usr/local/bin/tp"), "tp");
        assert_eq!(shown("tp", "/home/alice/.cargo/bin/tp"), "/home/alice/.cargo/bin/tp");
        assert_eq!(shown("target/debug/tp", "/src/target/debug/tp"), "target/debug/tp");
    }
}
