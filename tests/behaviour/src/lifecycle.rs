//! Connecting and disconnecting: what a user sees, and what is left on the machine.
mod bench;
mod configuration;
mod dataplanes;
pub mod doctor;
mod leaving;
mod loops;
mod privilege;
mod proxy_via;
mod refusals;
mod resolver_files;
mod routes;
mod session;
mod vpn;

use std::sync::Arc;

use anyhow::{Context, Result};
use libtest_mimic::Trial;

use crate::host::Host;
use crate::load;
use crate::place::Place;
use crate::runner::trial;
use crate::site::Session;
use crate::standalone::Standalone;
use crate::tp::GONE_WITHIN;
use crate::workstation::USER;

/// On any site.
type Case = fn(&dyn Session) -> Result<()>;
/// On our own topology, whose parts it changes.
type OwnCase = fn(&Standalone) -> Result<()>;

/// Cases that start and end the daemon themselves; each begins with nothing of tp on the workstation.
pub fn trials<S: Session + Send + Sync + 'static>(site: &Arc<S>) -> Vec<Trial> {
    let all = [session::CASES, privilege::CASES, leaving::CASES].concat();
    let one = |(name, case): (&'static str, Case)| {
        let site = site.clone();
        trial(name, move || bracketed(site.as_ref(), |site| case(site)))
    };
    all.into_iter().map(one).collect()
}

/// Those that need the standalone manager.
pub fn own_trials(site: &Arc<Standalone>) -> Vec<Trial> {
    let all = [
        routes::CASES,
        loops::CASES,
        resolver_files::CASES,
        refusals::CASES,
        proxy_via::CASES,
        configuration::CASES,
        dataplanes::CASES,
        doctor::CASES,
        bench::CASES,
    ]
    .concat();
    let all = [all, vpn::cases(), load::cases()].concat();
    let one = |(name, case): (&'static str, OwnCase)| {
        let site = site.clone();
        trial(name, move || bracketed(site.as_ref(), case))
    };
    all.into_iter().map(one).collect()
}

fn bracketed<S: Session>(site: &S, case: impl FnOnce(&S) -> Result<()>) -> Result<()> {
    site.ensure_quit()?;
    let result = case(site).with_context(|| format!("the daemon's log ends:\n{}\n", site.tp().log()));
    site.ensure_quit()?;
    result
}

/// The workstation as it is now.
pub fn look(site: &dyn Session) -> Result<Host> {
    Host::of(&site.app(), site.workstation().pid())
}

/// The workstation is as it was, within the promised time.
pub fn as_before(site: &dyn Session, before: &Host) -> Result<()> {
    site.tp().wait_gone()?;
    before.again(GONE_WITHIN, || look(site))
}

/// A program reaches the first server.
pub fn reached(site: &dyn Session) -> Result<()> {
    let url = format!("http://{}:8080", site.facts().servers[0]);
    site.app().succeed(&["curl", "-sS", "--max-time", "10", &url]).map(drop)
}

/// Root, as `sudo` makes it for an ordinary user.
fn sudo(site: &dyn Session) -> Place {
    let uid = USER.to_string();
    site.app().env("SUDO_UID", &uid).env("SUDO_GID", &uid).env("SUDO_USER", "developer")
}
