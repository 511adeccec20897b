//! Where the settings are asked for: the daemon, or else the files of the invoking user.

use std::path::Path;

use anyhow::{Result, anyhow};
use nix::unistd::geteuid;
use tonic::Code;
use tp_core::config::{Config, Row};
use tp_core::invoker;
use tp_proto::config::layers;
use tp_proto::daemon::ConnectRequest;

use crate::daemon::{self, rpc_error};
use crate::invoker::{account, become_invoker};
use crate::report::with_hint;

/// Rows and notes of the connection; `None` without one.
pub(super) async fn of_connection() -> Result<Option<(Vec<Row>, Vec<String>)>> {
    let Some(mut daemon) = daemon::find().await? else { return Ok(None) };
    match daemon.client.view_config(()).await {
        Ok(reply) => {
            let reply = reply.into_inner();
            Ok(Some((super::read_rows(&reply.rows_json)?, reply.notes)))
        }
        // it connects only now
        Err(status) if status.code() == Code::FailedPrecondition => Ok(None),
        Err(status) => Err(rpc_error("asking for the settings", &status)),
    }
}

/// What a connect would begin with. Files are read as the invoking user, as the daemon reads them.
pub(super) fn of_machine(request: &ConnectRequest) -> Result<Vec<Row>> {
    let env = environment()?;
    become_invoker(&account()?)?;
    match layers(request, env) {
        Ok(layers) => Ok(Config::merge(&layers).view()),
        Err(error) => {
            let hint = error.hint();
            Err(with_hint(anyhow!(error).context("reading the configuration"), hint))
        }
    }
}

/// The environment that the daemon would have.
pub(super) fn environment() -> Result<impl Fn(&str) -> Option<String>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let exists = |directory: &str| Path::new(directory).is_dir();
    let changes = invoker::environment(geteuid().as_raw(), &account()?, variable, exists);
    Ok(move |name: &str| match changes.iter().find(|(changed, _)| *changed == name) {
        Some((_, value)) => value.clone(),
        None => variable(name),
    })
}
