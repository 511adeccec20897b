//! Running other programs, and saying what went wrong.
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A command line; blanks separate words.
pub(crate) fn cmd(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// The same as root: directly, or by sudo.
pub(crate) fn root(line: &str) -> Command {
    if crate::machine::is_root() {
        cmd(line)
    } else {
        cmd(&format!("sudo -E env PATH={} {line}", env_path()))
    }
}

/// Shows the command and runs it; its output goes to ours.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", shown(command));
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// Standard output of a command that must succeed.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let out = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !out.status.success() {
        bail!("{} failed: {}", shown(command), out.status);
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Whether the PATH has such a program.
pub(crate) fn have(program: &str) -> bool {
    std::env::split_paths(&env_path()).any(|dir| dir.join(program).is_file())
}

fn env_path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
