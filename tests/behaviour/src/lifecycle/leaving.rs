//! However the daemon ends, the workstation is as it was within two seconds.
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Case, as_before, look, reached};
use crate::process::{Guard, eventually};
use crate::site::Session;
use crate::tp::{GONE_WITHIN, loaded_programs};

pub(super) const CASES: &[(&str, Case)] = &[
    ("leaving_by_sigterm", |site| ended_by(site, "TERM")),
    ("leaving_by_sigint", |site| ended_by(site, "INT")),
    ("leaving_by_sigkill", |site| ended_by(site, "KILL")),
    ("leaving_by_sigkill_under_load", under_load),
    ("leaving_by_sigkill_with_unread_data", unread_data),
    ("leaving_by_sigkill_at_random_moments", random_moments),
    ("leaving_by_sigkill_of_all_processes", everything_killed),
    ("leaving_by_sigkill_and_connecting_at_once", at_once),
    ("leaving_names_resolve_at_once_as_before", names_afterwards),
];

fn ended_by(site: &dyn Session, signal: &str) -> Result<()> {
    let before = look(site)?;
    site.tp().connect(&[])?.success()?;
    reached(site)?;
    let programs = site.tp().programs()?;
    ensure!(!programs.is_empty(), "the daemon holds no kernel programs");
    site.tp().signal(site.tp().daemon()?, signal)?;
    as_before(site, &before)?;
    eventually(GONE_WITHIN, || {
        let left: Vec<_> = loaded_programs().intersection(&programs).copied().collect();
        ensure!(left.is_empty(), "kernel programs are left: {left:?}");
        Ok(())
    })
}

fn under_load(site: &dyn Session) -> Result<()> {
    let before = look(site)?;
    site.tp().connect(&[])?.success()?;
    let server = &site.facts().servers[0];
    let _flood = start(site, &["flood", &format!("{server}:7777"), "200", "100000000"])?;
    let _down = start(site, &["download", server, "10000000000", "1"])?;
    let _udp = start(site, &["udp", &format!("{server}:7777"), "1000", "1000000"])?;
    sleep(Duration::from_millis(700));
    site.tp().signal(site.tp().daemon()?, "KILL")?;
    as_before(site, &before)
}

/// A socket with data that the app does not read would keep the daemon's private namespace alive.
fn unread_data(site: &dyn Session) -> Result<()> {
    let before = look(site)?;
    site.tp().connect(&[])?.success()?;
    let _slow = start(site, &["slow-reader", &site.facts().servers[0], "1000000000", "1", "60000"])?;
    sleep(Duration::from_secs(1));
    site.tp().signal(site.tp().daemon()?, "KILL")?;
    as_before(site, &before)
}

fn random_moments(site: &dyn Session) -> Result<()> {
    let before = look(site)?;
    let mut state = u64::from(std::process::id());
    for round in 0..12 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_millis((state >> 33) % 900);
        let mut command = site.app().command(&site.tp().connect_words(&[]));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let connecting = Guard::spawn(command)?;
        sleep(moment);
        for (pid, _) in site
            .tp()
            .processes()
            .into_iter()
            .filter(|(_, line)| line.contains("tp-daemon") && !line.contains("janitor"))
        {
            let _ = site.tp().signal(pid, "KILL");
        }
        // the command line notices by itself that its daemon is gone
        eventually(GONE_WITHIN, || {
            let left = site.tp().processes();
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
        .or_else(|_| site.ensure_quit())
        .with_context(|| format!("round {round}, killed after {moment:?}"))?;
        drop(connecting);
        as_before(site, &before).with_context(|| format!("round {round}, killed after {moment:?}"))?;
    }
    site.tp().connect(&[])?.success()?;
    reached(site)
}

/// Nobody is left to tidy up: what remains is at most inert, and the next connect is none the worse.
fn everything_killed(site: &dyn Session) -> Result<()> {
    let before = look(site)?;
    for _ in 0..3 {
        site.tp().connect(&[])?.success()?;
        for (pid, _) in site.tp().processes() {
            let _ = site.tp().signal(pid, "KILL");
        }
        as_before(site, &before)?;
    }
    site.tp().connect(&[])?.success()?;
    reached(site)
}

/// What a killed daemon leaves for a moment does not disturb the next.
fn at_once(site: &dyn Session) -> Result<()> {
    for round in 0..6 {
        site.tp().connect(&[])?.success().with_context(|| format!("round {round}"))?;
        let _traffic = start(site, &["slow-reader", &site.facts().servers[0], "1000000000", "1", "60000"])?;
        reached(site)?;
        site.tp().signal(site.tp().daemon()?, "KILL")?;
    }
    Ok(())
}

fn names_afterwards(site: &dyn Session) -> Result<()> {
    site.tp().connect(&[])?.success()?;
    site.tp().signal(site.tp().daemon()?, "KILL")?;
    site.tp().wait_gone()?;
    let done = site.app().probe("resolve web.example.test")?;
    ensure!(done["addresses"].is_array(), "{done}");
    Ok(())
}

/// `tp-probe` in the background.
fn start(site: &dyn Session, words: &[&str]) -> Result<Guard> {
    let mut command = site.app().probe_command(words);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Guard::spawn(command)
}
