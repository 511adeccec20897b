//! Builds the programs: `tp` and `tp-daemon`, and `tp-traffic` as a static binary that runs in an empty image.
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{machine, setup, sh};

const ALL: &str = "-p tp-cli -p tp-daemon -p tp-cluster -p tp-probe";

/// For use, optimised.
pub(crate) fn release() -> Result<()> {
    setup::build()?;
    let dir = build("release")?;
    eprintln!("\nbuilt in {}: tp, tp-daemon (beside it), static/tp-traffic (for the cluster)", dir.display());
    Ok(())
}

/// With any of cargo's profiles, for this machine alone.
pub(crate) fn of_profile(profile: &str) -> Result<PathBuf> {
    sh::run(&mut sh::cmd(&format!("cargo build --quiet --profile {profile} {ALL}")))?;
    Ok(dir(profile))
}

/// For tests and the demo: what `cargo test` builds anyway.
pub(crate) fn dev() -> Result<PathBuf> {
    build("dev")
}

fn build(profile: &str) -> Result<PathBuf> {
    let dir = dir(profile);
    let fixed = dir.join("static");
    fs::create_dir_all(&fixed)?;
    // the flag reaches only the last step, so that no crate is compiled twice
    for (package, program) in [("tp-cluster", "tp-traffic"), ("tp-probe", "tp-probe")] {
        let line = format!(
            "cargo rustc --quiet --profile {profile} -p {package} --bin {program} -- -C target-feature=+crt-static"
        );
        sh::run(&mut sh::cmd(&line))?;
        fs::copy(dir.join(program), fixed.join(program))
            .with_context(|| format!("cannot keep the static {program}"))?;
    }
    // last, so that the programs of this machine are the ones that lie in the usual place
    sh::run(&mut sh::cmd(&format!("cargo build --quiet --profile {profile} {ALL}")))?;
    Ok(dir)
}

/// Where cargo puts the programs of a profile.
fn dir(profile: &str) -> PathBuf {
    machine::target().join(if profile == "dev" { "debug" } else { profile })
}
