//! `tp quit`.

use anyhow::Result;
use serde::Serialize;
use tonic::Code;

use crate::daemon::{self, Daemon, rpc_error};
use crate::output::Output;

#[derive(Debug, Serialize)]
struct Quit {
    state: &'static str,
    /// There was a connection, or one was being made.
    was_connected: bool,
}

pub async fn run(output: Output) -> Result<()> {
    let daemon = daemon::find().await?;
    let was_connected = daemon.is_some();
    if let Some(daemon) = daemon {
        leave(daemon).await?;
    }
    eprintln!("{}", if was_connected { "disconnected" } else { "not connected" });
    if output == Output::Json {
        output.print(&Quit { state: "disconnected", was_connected }, |_| String::new())?;
    }
    Ok(())
}

/// Asks the daemon to end, and waits until it has.
pub async fn leave(mut daemon: Daemon) -> Result<()> {
    match daemon.client.quit(()).await {
        Ok(_) => {}
        Err(status) if status.code() == Code::PermissionDenied => {
            return Err(rpc_error("disconnecting", &status));
        }
        // somebody else was faster: it is ending, which is what we want
        Err(_) => {}
    }
    daemon.gone().await
}
