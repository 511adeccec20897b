//! `tp config`: the settings that hold, where they come from, and what can be set.

mod sources;

use anyhow::{Context, Result};
use clap::Subcommand;
use tp_core::config::{self, Row};

use crate::connect::ConnectArgs;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the settings that hold, as a file that sets them
    ///
    /// Those of the connection if there is one; else what `tp connect` with the same flags would begin with, before it
    /// asks the manager.
    #[command(mut_arg("command", |arg| arg.hide(true)))]
    View {
        /// Tell where each value comes from
        #[arg(long)]
        sources: bool,
        #[command(flatten)]
        connect: Box<ConnectArgs>,
    },
    /// Print the JSON schema of config.yml
    Schema,
    /// Print the files that are read, the most important last
    Path,
}

pub async fn run(command: ConfigCommand, output: Output) -> Result<()> {
    match command {
        ConfigCommand::View { sources, connect } => view(sources, &connect, output).await,
        ConfigCommand::Schema => Output::Json.print(&config::schema(), |_| String::new()),
        ConfigCommand::Path => paths(output),
    }
}

async fn view(with_sources: bool, connect: &ConnectArgs, output: Output) -> Result<()> {
    let rows = match sources::of_connection().await? {
        Some((rows, notes)) => {
            for note in notes {
                eprintln!("note: {note}");
            }
            rows
        }
        None => {
            let rows = sources::of_machine(&connect.request()?)?;
            eprintln!("not connected: the manager's part is not known");
            rows
        }
    };
    output.print(&config::json(&rows, with_sources), |_| config::text(&rows, with_sources))
}

fn paths(output: Output) -> Result<()> {
    let env = sources::environment()?;
    let paths = config::paths(env).into_iter().map(|path| path.display().to_string());
    output.print(&paths.collect::<Vec<_>>(), |paths| paths.join("\n"))
}

/// Rows as the daemon sends them.
fn read_rows(json: &str) -> Result<Vec<Row>> {
    serde_json::from_str(json).context("reading the daemon's settings")
}
