//! Go, with which the Kubernetes of the tests and the programs it is compared with are built, once.
use anyhow::{Context, Result, bail};

use super::apt;
use crate::{machine, sh};

/// From this version on Go fetches a newer Go by itself if a module asks for one.
const ENOUGH: u32 = 21;

fn toolchain() -> Result<()> {
    if minor().is_some_and(|minor| minor >= ENOUGH) {
        return Ok(());
    }
    apt::install(&["golang-go"])?;
    match minor() {
        Some(minor) if minor >= ENOUGH => Ok(()),
        Some(minor) => bail!(
            "Go 1.{minor} is too old to build Kubernetes\n\nhint: install Go 1.24 or newer in /usr/local/go"
        ),
        None => bail!("Go is missing\n\nhint: install Go 1.24 or newer in /usr/local/go"),
    }
}

/// Builds the Kubernetes lab's programs and what we are compared with; minutes the first time, a second afterwards.
pub(crate) fn lab() -> Result<()> {
    toolchain()?;
    let lab = machine::root().join("tests/kube/lab");
    for script in ["build.sh", "peers.sh"] {
        sh::run(&mut sh::root(&lab.join(script).display().to_string()))
            .context("the Kubernetes for the tests")?;
    }
    Ok(())
}

fn minor() -> Option<u32> {
    let text = sh::have("go").then(|| sh::read(&mut sh::cmd("go version")))?.ok()?;
    let rest = text.split("go1.").nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
