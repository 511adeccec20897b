//! `ip` in a test's namespace, and what the daemon sees there.

use std::io::Write;
use std::process::{Command, Stdio};

use nix::net::if_::if_indextoname;
use tokio::runtime::{Builder, Runtime};
use tp_core::machine::{Machine, RouteKind};
use tp_daemon::machine;

pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn ip_batch(lines: &str) {
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// `ip -j` with these words, as JSON.
pub(crate) fn shown(arguments: &str) -> Vec<serde_json::Value> {
    let output = Command::new("ip").arg("-j").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip -j {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// In this thread, whose namespace is the test's.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn seen() -> Machine {
    runtime().block_on(machine::look()).unwrap()
}

pub(crate) fn leaves_by(address: &str) -> String {
    let Some(leaving) = runtime().block_on(machine::leaves_by(address.parse().unwrap())).unwrap() else {
        return "no route".to_owned();
    };
    match leaving.kind {
        RouteKind::Unicast | RouteKind::Local => {
            let name = if_indextoname(leaving.link.unwrap()).unwrap();
            let name = name.to_str().unwrap();
            format!("{:?} by {name} in table {}", leaving.kind, leaving.table.unwrap())
        }
        kind => format!("{kind:?}"),
    }
}
