//! `tp-daemon`: started by `tp connect`, ended by `tp quit`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tp_daemon::args::run::<tp_daemon::workstation::Workstation>()
}
