//! The user behind `sudo tp ...`: whom the daemon works for, and whose programs `tp connect -- CMD` runs.

use std::ffi::CString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist, setgroups, setresgid, setresuid};
use tp_core::invoker::{Account, environment, invoking_uid};

/// The invoking user's account.
pub fn account() -> Result<Account> {
    let uid = invoking_uid(geteuid().as_raw(), variable);
    let found =
        User::from_uid(Uid::from_raw(uid)).with_context(|| format!("looking up the user with uid {uid}"))?;
    if let Some(user) = found {
        return Ok(Account {
            uid,
            gid: user.gid.as_raw(),
            name: user.name,
            home: user.dir.display().to_string(),
            shell: user.shell.display().to_string(),
        });
    }
    // in a container the user database may know less than sudo
    Ok(Account {
        uid,
        gid: variable("SUDO_GID").and_then(|gid| gid.parse().ok()).unwrap_or(uid),
        name: variable("SUDO_USER").unwrap_or_else(|| uid.to_string()),
        home: variable("HOME").filter(|home| belongs_to(home, uid)).unwrap_or_else(|| "/".to_owned()),
        shell: "/bin/sh".to_owned(),
    })
}

/// Gives `command` the environment of `account`.
pub fn furnish(command: &mut Command, account: &Account) {
    let exists = |directory: &str| Path::new(directory).is_dir();
    for (name, value) in environment(geteuid().as_raw(), account, variable, exists) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

/// Gives up root for good: this process is the invoking user from here on.
pub fn become_invoker(account: &Account) -> Result<()> {
    if !geteuid().is_root() || account.uid == 0 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    let name = CString::new(account.name.as_bytes()).context("reading the user's name")?;
    getgrouplist(&name, gid)
        .and_then(|groups| setgroups(&groups))
        .and_then(|()| setresgid(gid, gid, gid))
        .and_then(|()| setresuid(uid, uid, uid))
        .with_context(|| format!("becoming {} (uid {uid}) again", account.name))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn belongs_to(path: &str, uid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.uid() == uid)
}
