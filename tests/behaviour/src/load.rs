//! Under load nothing breaks, nothing is lost, and memory stays bounded: in the daemon and in the manager, in bytes.
//! Times are printed and never judged.
mod crowd;
mod memory;
mod slow_way;
mod small;
mod stalled;
mod stopped;
mod talk;

use anyhow::Result;

use crate::site::{Session, Site};
use crate::standalone::Standalone;

pub(crate) fn cases() -> Vec<(&'static str, Case)> {
    // the largest last: what the manager then holds of it, the others could not see
    [stalled::CASES, stopped::CASES, small::CASES, slow_way::CASES, crowd::CASES].concat()
}

pub(crate) type Case = fn(&Standalone) -> Result<()>;

const MIB: u64 = 1 << 20;

/// Connects, and gives every part its first memory: the first connections pay for what is allocated once.
fn connected(site: &Standalone) -> Result<memory::Usage> {
    site.tp().connect(&[])?.success()?;
    let fresh = memory::Usage::now(site)?;
    talk::Talk::start(site, &format!("hold 64 64 {}:7776", server(site)))?.end()?;
    fresh.descriptors_again(site)?;
    memory::Usage::now(site)
}

fn server(site: &Standalone) -> &str {
    &site.facts().servers[0]
}
