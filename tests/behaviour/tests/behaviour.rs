//! The behaviour suite: `cargo test -p tests-behaviour`, as root; `TP_SUBJECT=native` proves the cases themselves.
use std::process::ExitCode;

fn main() -> ExitCode {
    tests_behaviour::runner::main(tests_behaviour::subject::build)
}
