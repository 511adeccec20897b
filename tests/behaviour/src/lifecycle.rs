//! Connecting and disconnecting: what a user sees, and what is left on the machine.
mod leaving;
mod privilege;
mod refusals;
mod resolver_files;
mod session;

use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::Trial;

use crate::host::Host;
use crate::place::Place;
use crate::runner::trial;
use crate::site::Site;
use crate::standalone::Standalone;
use crate::tp::GONE_WITHIN;
use crate::workstation::USER;

type Case = fn(&Standalone) -> Result<()>;

/// Cases that start and end the daemon themselves; each begins with nothing of tp on the workstation.
pub fn trials(site: &Arc<Standalone>) -> Vec<Trial> {
    let all =
        [session::CASES, resolver_files::CASES, privilege::CASES, refusals::CASES, leaving::CASES].concat();
    let one = |(name, case): (&'static str, Case)| {
        let site = site.clone();
        trial(name, move || {
            site.ensure_quit()?;
            let result = case(&site);
            site.ensure_quit()?;
            result
        })
    };
    all.into_iter().map(one).collect()
}

/// The workstation as it is now.
fn look(site: &Standalone) -> Result<Host> {
    Host::of(&site.app(), site.topology().workstation().pid())
}

/// The workstation is as it was, within the promised time.
fn as_before(site: &Standalone, before: &Host) -> Result<()> {
    site.tp().wait_gone()?;
    before.again(GONE_WITHIN, || look(site))
}

/// Root, as `sudo` makes it for an ordinary user.
fn sudo(site: &Standalone) -> Place {
    let uid = USER.to_string();
    site.app().env("SUDO_UID", &uid).env("SUDO_GID", &uid).env("SUDO_USER", "developer")
}
