//! After set-up the daemon is the invoking user with one capability, and answers that user and root alone.
use std::fs;

use anyhow::{Context, Result, ensure};

use super::{Case, as_before, look, reached, sudo};
use crate::site::Session;
use crate::workstation::USER;

pub(super) const CASES: &[(&str, Case)] = &[
    ("privilege_daemon_runs_as_the_invoking_user", invoking_user),
    ("privilege_daemon_of_root_has_one_capability", root_itself),
    ("privilege_invoking_user_needs_no_sudo_afterwards", user_without_sudo),
    ("privilege_other_users_are_refused", other_user),
    ("privilege_command_runs_as_the_invoking_user", command_as_user),
];

/// CAP_NET_ADMIN and nothing else, as /proc shows it.
const NET_ADMIN: &str = "0000000000001000";

fn invoking_user(site: &dyn Session) -> Result<()> {
    sudo(site).run(&site.tp().connect_words(&[]))?.success()?;
    let status = daemon_status(site)?;
    for line in ["Uid:", "Gid:"] {
        let ids = field(&status, line)?;
        ensure!(ids.split_whitespace().all(|id| id == USER.to_string()), "{line} {ids}");
    }
    ensure!(
        field(&status, "Groups:")?.trim().is_empty() || field(&status, "Groups:")?.trim() == USER.to_string(),
        "{status}"
    );
    capabilities(&status)?;
    reached(site)
}

fn root_itself(site: &dyn Session) -> Result<()> {
    site.tp().connect(&[])?.success()?;
    capabilities(&daemon_status(site)?)
}

fn user_without_sudo(site: &dyn Session) -> Result<()> {
    let before = look(site)?;
    sudo(site).run(&site.tp().connect_words(&[]))?.success()?;
    let user = site.app().user(USER);
    let text = site.tp().run_at(&user, &["status"])?.success()?;
    ensure!(text.to_lowercase().contains("connected"), "{text}");
    site.tp().run_at(&user, &["maps", "dump"])?.success()?;
    site.tp().run_at(&user, &["quit"])?.success()?;
    as_before(site, &before)
}

fn other_user(site: &dyn Session) -> Result<()> {
    sudo(site).run(&site.tp().connect_words(&[]))?.success()?;
    let stranger = site.app().user(USER + 1);
    for words in [["status"].as_slice(), &["quit"], &["maps", "dump"]] {
        let said = site.tp().run_at(&stranger, words)?.failure(1)?;
        ensure!(said.contains("hint:"), "{words:?} gives no hint: {said}");
    }
    site.tp().daemon().context("a stranger's quit must not end it")?;
    reached(site)
}

fn command_as_user(site: &dyn Session) -> Result<()> {
    let done = sudo(site).run(&site.tp().connect_words(&["--", "id", "-u"]))?;
    ensure!(
        done.stdout.trim() == USER.to_string(),
        "the command does not run as the invoking user: {done:?}"
    );
    Ok(())
}

fn capabilities(status: &str) -> Result<()> {
    for set in ["CapEff:", "CapPrm:"] {
        let value = field(status, set)?;
        ensure!(value.trim() == NET_ADMIN, "{set} {value}");
    }
    for set in ["CapInh:", "CapAmb:"] {
        let value = field(status, set)?;
        ensure!(value.trim() == "0000000000000000", "{set} {value}");
    }
    Ok(())
}

fn daemon_status(site: &dyn Session) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/{}/status", site.tp().daemon()?))?)
}

fn field<'a>(status: &'a str, name: &str) -> Result<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))
}
