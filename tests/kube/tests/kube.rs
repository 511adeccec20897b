//! The e2e suite on a real Kubernetes: `cargo xtask e2e`, as root.
use std::process::ExitCode;

fn main() -> ExitCode {
    tests_behaviour::runner::main(tests_kube::suite::build)
}
