//! A network namespace for one test.

use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

/// A test that hangs fails instead of holding up all others; long enough for the emulated machines of tests/kernels.
const HANGS_AFTER: Duration = Duration::from_secs(300);

/// Runs something in a fresh network namespace; threads and programs it starts are in there too.
pub(crate) fn in_namespace(work: impl FnOnce() + Send + 'static) {
    let (ended, end) = mpsc::channel::<()>();
    let inside = thread::spawn(move || {
        let _ended = ended;
        enter();
        work();
    });
    if end.recv_timeout(HANGS_AFTER) == Err(RecvTimeoutError::Timeout) {
        panic!("the test hangs: nothing ended it in {HANGS_AFTER:?}");
    }
    if let Err(panic) = inside.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Moves this thread into a fresh network namespace.
pub(crate) fn enter() {
    assert!(nix::unistd::geteuid().is_root(), "these tests need root: sudo -E cargo test -p tp-daemon");
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
    assert!(status.success(), "ip link set lo up: {status}");
}
