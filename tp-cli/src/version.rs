//! `tp version`.

use anyhow::Result;
use serde::Serialize;

use crate::daemon;
use crate::output::{Output, fields};

#[derive(Debug, Serialize)]
struct Versions {
    client: Program,
    daemon: Option<Program>,
    manager: Option<Program>,
    /// Why there is no daemon or manager to show, if that is not because there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, Serialize)]
struct Program {
    name: String,
    version: String,
}

/// Ours is always shown: one asks for versions when something is wrong.
pub async fn run(output: Output) -> Result<()> {
    let program = |name: &str, version: &str| Program { name: name.to_owned(), version: version.to_owned() };
    let client = program("tp", env!("CARGO_PKG_VERSION"));
    let mut versions = Versions { client, daemon: None, manager: None, note: None };
    match daemon::find().await {
        Ok(Some(mut daemon)) => match daemon.client.status(()).await {
            Ok(status) => {
                let status = status.into_inner();
                versions.daemon = Some(program("tp-daemon", &status.daemon_version));
                versions.manager = (!status.manager_version.is_empty())
                    .then(|| program(&status.manager_name, &status.manager_version));
            }
            Err(status) => versions.note = Some(status.message().to_owned()),
        },
        Ok(None) => {}
        Err(error) => versions.note = Some(format!("{:#}", error.root_cause())),
    }
    output.print(&versions, |versions| {
        let shown = |program: &Option<Program>, none: &str| match program {
            Some(program) => format!("{} {}", program.name, program.version),
            None => none.to_owned(),
        };
        let asked = versions.note.is_none();
        let mut text = fields(&[
            ("Client", format!("{} {}", versions.client.name, versions.client.version)),
            ("Daemon", shown(&versions.daemon, if asked { "not running" } else { "unknown" })),
            ("Manager", shown(&versions.manager, if asked { "not connected" } else { "unknown" })),
        ]);
        if let Some(note) = &versions.note {
            text.push_str(&format!("\nnote: {note}\n"));
        }
        text
    })
}
