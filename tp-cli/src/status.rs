//! `tp status`.

mod routing;
mod view;

use anyhow::Result;

use crate::daemon::{self, rpc_error};
use crate::output::Output;

pub use view::View;

pub async fn run(output: Output) -> Result<()> {
    let view = match daemon::find().await? {
        Some(mut daemon) => {
            let status = daemon.client.status(()).await;
            View::from(status.map_err(|status| rpc_error("asking for the status", &status))?.into_inner())
        }
        None => View::disconnected(),
    };
    output.print(&view, View::text)?;
    if view == View::disconnected() && output == Output::Text {
        eprintln!("\nhint: sudo tp connect");
    }
    Ok(())
}
