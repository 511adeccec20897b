//! Machines with other routes than the usual ones.
use anyhow::{Result, ensure};

use super::{OwnCase, as_before, look, reached};
use crate::site::Session;
use crate::standalone::Standalone;

pub(super) const CASES: &[(&str, OwnCase)] =
    &[("routes_with_a_default_route", default_route), ("routes_of_the_machine_are_not_taken_away", conflict)];

fn default_route(site: &Standalone) -> Result<()> {
    let ws = site.topology().ws();
    ws.ip("route add default via 192.0.2.1")?;
    let result = (|| {
        let before = look(site)?;
        site.tp().connect(&[])?.success()?;
        reached(site)?;
        site.tp().quit()?;
        as_before(site, &before)
    })();
    ws.ip("route del default via 192.0.2.1")?;
    result
}

/// A route of the machine inside of the cluster's networks: never silently taken away.
fn conflict(site: &Standalone) -> Result<()> {
    let ws = site.topology().ws();
    ws.ip("route add 10.55.0.0/16 via 192.0.2.77")?;
    ws.ip("route add 10.55.0.0/24 via 192.0.2.77")?;
    let before = look(site)?;
    let done = site.tp().connect(&[])?;
    let kept = !before.difference(&look(site)?).contains("lost");
    site.tp().force_quit()?;
    ws.ip("route del 10.55.0.0/24 via 192.0.2.77")?;
    ws.ip("route del 10.55.0.0/16 via 192.0.2.77")?;
    ensure!(kept, "a route of the machine is gone");
    let said = format!("{}{}", done.stdout, done.stderr);
    ensure!(said.contains("10.55.0.0/"), "the conflict is not mentioned: {done:?}");
    Ok(())
}
