//! Many connections at once.
use anyhow::{Result, ensure};

use super::Case;
use crate::site::Site;

pub const CASES: &[(&str, Case)] = &[("thousand_connections_at_once", thousand)];

fn thousand(site: &dyn Site) -> Result<()> {
    let done = site.app().probe(&format!("flood {}:7777 1000 10000", site.facts().servers[0]))?;
    ensure!(done["good"] == 1000, "{done}");
    Ok(())
}
