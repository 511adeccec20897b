//! The commands against a real daemon process in network namespaces, with a fake workstation in it. Needs root.
#![expect(clippy::unwrap_used, reason = "tests, though not marked so: this program has a main of its own")]

mod bench;
mod cases;
mod config;
mod doctor;
mod fake;
mod netns;
mod process;
mod refusals;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    // `tp` starts this program as its daemon, and that one its janitor
    match std::env::args().nth(1).as_deref() {
        Some("run" | "janitor") => return tp_daemon::args::run::<fake::Fake>(),
        Some("squat") => return netns::squat(),
        _ => {}
    }
    let trial = |(name, case): (&'static str, fn())| {
        Trial::test(name, move || {
            if !nix::unistd::geteuid().is_root() {
                return Err(Failed::from("network namespaces need root: run the tests as root"));
            }
            std::panic::catch_unwind(case).map_err(|panic| {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                Failed::from(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panicked").to_owned())
            })
        })
    };
    let trials = [bench::CASES, cases::CASES, config::CASES, doctor::CASES, process::CASES, refusals::CASES]
        .concat()
        .into_iter()
        .map(trial)
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
