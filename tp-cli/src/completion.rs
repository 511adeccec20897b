//! `tp completion SHELL`.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;

/// Prints the script; the shell's own manual says where it goes.
pub fn print(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tp", &mut script);
    io::stdout().write_all(&script).context("writing the completion script")
}
