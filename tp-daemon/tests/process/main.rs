//! The dataplane as a process of its own: as the user with one capability, and killed.
//!
//! No test harness: its threads would be in the way of giving up root. Needs root, changes nothing outside of its own
//! network namespace.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

#[path = "../dataplane/far_end.rs"]
#[expect(dead_code, reason = "the other test's ports are not all used here")]
mod far_end;
mod killed;
#[path = "../support/namespace.rs"]
#[expect(dead_code, reason = "a thread of its own is what this test cannot have")]
mod namespace;
mod unprivileged;

use std::process::{Child, Command, ExitCode, Stdio};

use tp_daemon::dataplane::Options;

fn main() -> ExitCode {
    let role = std::env::args().nth(1).unwrap_or_default();
    match role.as_str() {
        unprivileged::ROLE => unprivileged::run(),
        killed::ROLE => killed::serve(),
        _ => {
            namespace::enter();
            assert!(child(unprivileged::ROLE).wait().unwrap().success(), "{} failed", unprivileged::ROLE);
            killed::test();
            println!("2 process tests passed");
        }
    }
    ExitCode::SUCCESS
}

/// This very program in another role, in the same network namespace.
fn child(role: &str) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new(program).arg(role).stdout(Stdio::piped()).spawn().unwrap()
}

fn output(command: &str) -> String {
    let output = Command::new("sh").arg("-ec").arg(command).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn options() -> Options {
    Options {
        tun_v4: "198.18.84.113/30".parse().unwrap(),
        dns_v4: "198.18.84.114".parse().unwrap(),
        v6: Some(("fd74:7074::1/126".parse().unwrap(), "fd74:7074::2".parse().unwrap())),
        udp: tp_core::udp_flows::Limits::default(),
        kernel_log_level: 0,
    }
}
