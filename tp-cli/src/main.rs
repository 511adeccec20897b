//! `tp`: the command line.

use std::process::ExitCode;

// One thread is enough for a client, and it becomes another user in the middle.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tp_cli::args::run().await
}
