//! Turns cases into trials, runs them one after another and checks that the machine itself is untouched.
use std::fmt::Display;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::host::Host;
use crate::netns;

/// One trial per case; errors are printed with their causes.
pub fn trial(name: impl Display, run: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name.to_string(), move || run().map_err(|error| Failed::from(format!("{error:#}"))))
}

/// Runs the trials `build` makes; what it owns is dropped before the machine is compared.
pub fn main<T: Send + 'static>(build: impl FnOnce() -> Result<(T, Vec<Trial>)>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // one topology and two cores: side by side they would measure each other
    arguments.test_threads = Some(1);
    netns::sweep();
    match run(&arguments, build) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run<T: Send + 'static>(
    arguments: &Arguments,
    build: impl FnOnce() -> Result<(T, Vec<Trial>)>,
) -> Result<ExitCode> {
    let before = Host::root()?;
    let (owner, mut trials) = build()?;
    let listed = arguments.list;
    // held here too: the last trial may be filtered out, and the others still need what they run on
    let owner = Arc::new(Mutex::new(Some(owner)));
    let last = owner.clone();
    trials.push(trial("the_machine_itself_is_untouched", move || {
        drop(last.lock().unwrap_or_else(PoisonError::into_inner).take());
        before.again(crate::tp::GONE_WITHIN, Host::root)
    }));
    let conclusion = libtest_mimic::run(arguments, trials);
    drop(owner);
    Ok(if listed || !conclusion.has_failed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
