//! Whoever does not read waits alone: others are not stalled, what waits for him is bounded, and he gets all of it later.
use anyhow::{Result, ensure};

use super::memory::Usage;
use super::talk::Talk;
use super::{Case, MIB, connected, server};
use crate::site::Site;
use crate::standalone::Standalone;

pub(super) const CASES: &[(&str, Case)] = &[
    ("load_an_app_that_does_not_read", |site| apps(site, 1, 64 * MIB)),
    ("load_fifty_apps_that_do_not_read", |site| apps(site, 50, 8 * MIB)),
    ("load_a_server_that_does_not_read", |site| servers(site, 1, 64 * MIB)),
    ("load_fifty_servers_that_do_not_read", |site| servers(site, 50, 16 * MIB)),
    ("load_four_hundred_apps_that_never_read", never),
    ("load_four_hundred_servers_that_do_not_read", |site| servers(site, 400, 8 * MIB)),
    ("load_single_bytes_for_an_app_that_does_not_read", drip),
];

/// What a fast neighbour moves meanwhile, each way; beside many it need not take so long.
const FAST: u64 = 128 * MIB;
const FAST_BESIDE_MANY: u64 = 32 * MIB;
/// The largest window of any flow, and what lies on the way to it.
const PER_FLOW: u64 = 6 * MIB;
/// However many they are: what may pile up for all of them, and for each the smallest window, what lies on the way to it,
/// and what it costs when it carries nothing.
const TOGETHER: u64 = 128 * MIB;
const PER_FLOW_OF_MANY: u64 = 384 << 10;
/// For the neighbour, and for an allocator that keeps what it once had.
const SLACK: u64 = 48 * MIB;

fn apps(site: &Standalone, n: u64, bytes: u64) -> Result<()> {
    let before = connected(site)?;
    let mut slow = Talk::start(site, &format!("stalled-apps {} {n} {bytes} 0", server(site)))?;
    slow.hear()?;
    beside(site, &before, n)?;
    slow.go_on()?;
    let done = slow.hear()?;
    ensure!(done["good"] == n, "{done}");
    before.descriptors_again(site)
}

fn servers(site: &Standalone, n: u64, bytes: u64) -> Result<()> {
    let before = connected(site)?;
    let mut slow = Talk::start(site, &format!("stalled-servers {} {n} {bytes}", server(site)))?;
    let sent = slow.hear()?;
    eprintln!("    the apps could send {} MiB", sent["sent"].as_u64().unwrap_or(0) / MIB);
    ensure!(sent["sent"].as_u64() < Some(n * bytes), "nothing held them back: {sent}");
    beside(site, &before, n)?;
    slow.go_on()?;
    let done = slow.hear()?;
    ensure!(done["good"] == n, "{done}");
    before.descriptors_again(site)
}

/// They end without having read: what waited for them is gone too.
fn never(site: &Standalone) -> Result<()> {
    let before = connected(site)?;
    let slow = Talk::start(site, &format!("stalled-apps {} 400 {} 0", server(site), 8 * MIB))?;
    slow.hear()?;
    beside(site, &before, 400)?;
    drop(slow);
    before.descriptors_again(site)?;
    before.given_back(site)?;
    beside(site, &before, 1)
}

/// Each of its bytes is a message of its own, and comes between the large ones of somebody else.
fn drip(site: &Standalone) -> Result<()> {
    let before = connected(site)?;
    let mut slow = Talk::start(site, &format!("stalled-apps {} 4 {MIB} 8000", server(site)))?;
    slow.hear()?;
    beside(site, &before, 4)?;
    slow.go_on()?;
    let done = slow.hear()?;
    ensure!(done["good"] == 4, "{done}");
    before.descriptors_again(site)
}

/// Others get on, and memory is bounded then.
fn beside(site: &Standalone, before: &Usage, slow: u64) -> Result<()> {
    let bytes = if slow < 10 { FAST } else { FAST_BESIDE_MANY };
    for verb in ["download", "upload"] {
        let fast = site.app().probe(&format!("{verb} {} {bytes} 7", server(site)))?;
        let right = fast["bytes"] == bytes && fast["right"] == true
            || fast["answer"] == format!("{bytes} true").as_str();
        ensure!(right, "{verb} beside {slow} that do not read: {fast}");
    }
    let now = Usage::now(site)?;
    eprintln!("    before: {before}\n    {slow} stalled: {now}");
    let most = (slow * PER_FLOW).min(TOGETHER + slow * PER_FLOW_OF_MANY) + SLACK;
    now.within(before, most, most)
}
