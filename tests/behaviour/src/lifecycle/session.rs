//! The commands of a session: connect, status, maps dump, quit, version.
use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Case, as_before, look, reached};
use crate::site::Session;

pub(super) const CASES: &[(&str, Case)] = &[
    ("session_connect_status_quit", connect_status_quit),
    ("session_second_connect_is_idempotent", second_connect),
    ("session_connect_runs_a_command", runs_a_command),
    ("session_status_and_quit_without_a_daemon", without_a_daemon),
    ("session_maps_dump_shows_flows", maps_dump),
    ("session_version_and_completion", version),
    ("session_reconnects_many_times", many_times),
];

fn connect_status_quit(site: &dyn Session) -> Result<()> {
    let before = look(site)?;
    let done = site.tp().connect(&[])?;
    let progress = done.stderr.clone();
    done.success()?;
    ensure!(!progress.trim().is_empty(), "no progress is shown");
    let status = site.tp().status()?;
    ensure!(
        status.to_string().contains("subnets") || status.to_string().contains("networks"),
        "the networks are not in the status: {status}"
    );
    let text = site.tp().run(&["status"])?.success()?;
    ensure!(text.to_lowercase().contains("connected"), "{text}");
    reached(site)?;
    site.tp().quit()?;
    as_before(site, &before)
}

fn second_connect(site: &dyn Session) -> Result<()> {
    site.tp().connect(&[])?.success()?;
    let daemon = site.tp().daemon()?;
    let again = site.tp().connect(&[])?;
    let said = format!("{}{}", again.stdout, again.stderr);
    again.success()?;
    ensure!(said.to_lowercase().contains("already"), "it does not say so: {said}");
    ensure!(site.tp().daemon()? == daemon, "another daemon runs");
    reached(site)
}

fn runs_a_command(site: &dyn Session) -> Result<()> {
    let before = look(site)?;
    let script = format!("curl -sS --max-time 10 http://{}:8080 && exit 7", site.facts().servers[0]);
    let done = site.tp().connect(&["--", "sh", "-c", &script])?;
    ensure!(done.code == Some(7), "not the command's status: {done:?}");
    let answer: Value =
        serde_json::from_str(done.stdout.trim()).context("only the command's output is on stdout")?;
    ensure!(answer["name"].is_string(), "{done:?}");
    as_before(site, &before)
}

fn without_a_daemon(site: &dyn Session) -> Result<()> {
    let done = site.tp().run(&["status"])?;
    let said = format!("{}{}", done.stdout, done.stderr).to_lowercase();
    ensure!(said.contains("not connected") && said.contains("tp connect"), "{done:?}");
    let done = site.tp().run(&["quit"])?;
    ensure!(done.code == Some(0), "there is nothing to do, so it is done: {done:?}");
    Ok(())
}

fn maps_dump(site: &dyn Session) -> Result<()> {
    site.tp().connect(&[])?.success()?;
    let server = site.facts().servers[0].clone();
    site.app().probe(&format!("udp {server}:7777 100 3"))?;
    reached(site)?;
    let text = site.tp().run(&["maps", "dump"])?.success()?;
    ensure!(text.contains(&server), "the UDP flow is not shown:\n{text}");
    let json = site.tp().run(&["maps", "dump", "--output", "json"])?.success()?;
    let all: Value = serde_json::from_str(&json).context("--output json")?;
    ensure!(all.to_string().contains(&server), "{all}");
    Ok(())
}

fn version(site: &dyn Session) -> Result<()> {
    let text = site.tp().run(&["version"])?.success()?;
    ensure!(text.contains("0.1.0"), "{text}");
    let text = site.tp().run(&["completion", "bash"])?.success()?;
    ensure!(text.contains("connect"), "{text}");
    Ok(())
}

fn many_times(site: &dyn Session) -> Result<()> {
    let before = look(site)?;
    for _ in 0..5 {
        site.tp().connect(&[])?.success()?;
        reached(site)?;
        site.tp().quit()?;
    }
    as_before(site, &before)
}
