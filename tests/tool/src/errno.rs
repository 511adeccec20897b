//! Names of the errors sockets give, so that tests compare what a program would see.
use std::io::{self, ErrorKind};

/// `ECONNREFUSED` and the like; anything unnamed by its kind.
pub(crate) fn name(error: &io::Error) -> String {
    let named = error.raw_os_error().map(nix::errno::Errno::from_raw).map(|errno| format!("{errno:?}"));
    match error.kind() {
        ErrorKind::UnexpectedEof => "EOF".into(),
        ErrorKind::WouldBlock => "TIMEOUT".into(),
        kind => named.unwrap_or_else(|| format!("{kind:?}")),
    }
}
