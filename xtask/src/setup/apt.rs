//! Debian and Ubuntu packages; elsewhere the missing programs are named.
use anyhow::{Result, bail};

use crate::sh;

/// Installs the package of each `(program, package)` whose program is missing.
pub(crate) fn programs(wanted: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        wanted.iter().filter(|(program, _)| !sh::have(program)).map(|(_, package)| *package).collect();
    install(&missing)
}

pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !sh::have("apt-get") {
        bail!(
            "this machine lacks: {list}\n\nhint: install them with its package manager (these are Debian's names)"
        );
    }
    let line = format!("apt-get install -y -qq --no-install-recommends {list}");
    let mut command = sh::root(&line);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    if sh::run(&mut command).is_err() {
        // a fresh machine knows no packages yet
        sh::run(&mut sh::root("apt-get update -qq"))?;
        sh::run(&mut command)?;
    }
    Ok(())
}

/// Whether the machine's package sources have it.
pub(crate) fn offers(package: &str) -> bool {
    let known = |_| {
        sh::read(&mut sh::cmd(&format!("apt-cache show {package}")))
            .is_ok_and(|text| text.contains("Package:"))
    };
    if !sh::have("apt-get") {
        return false;
    }
    known(()) || (sh::run(&mut sh::root("apt-get update -qq")).is_ok() && known(()))
}
