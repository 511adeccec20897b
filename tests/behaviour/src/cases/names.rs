//! Names of the cluster resolve, and every other name as if tp were not there.
use anyhow::{Result, ensure};
use serde_json::json;

use super::Case;
use crate::site::Site;

pub const CASES: &[(&str, Case)] = &[
    ("names_of_the_cluster_by_libc", cluster_names),
    ("names_of_the_cluster_by_dig_udp_and_tcp", cluster_by_dig),
    ("names_that_do_not_exist_in_the_cluster", no_such_service),
    ("names_outside_by_libc", outside_names),
    ("names_outside_by_dig_udp_and_tcp", outside_by_dig),
    ("names_outside_are_reached", outside_reached),
];

fn cluster_names(site: &dyn Site) -> Result<()> {
    for (name, addresses) in &site.facts().names {
        let done = site.app().probe(&format!("resolve {name}"))?;
        ensure!(done["addresses"] == json!(addresses), "{name}: {done}, expected {addresses:?}");
    }
    Ok(())
}

fn cluster_by_dig(site: &dyn Site) -> Result<()> {
    // dig asks for exactly what it is told: full names only
    for (name, addresses) in site.facts().names.iter().filter(|(name, _)| name.ends_with(".local")) {
        for over in ["+notcp", "+tcp"] {
            ensure!(dig(site, &[name, over])? == *addresses, "{name} {over}");
        }
    }
    Ok(())
}

fn no_such_service(site: &dyn Site) -> Result<()> {
    for name in ["no-such-service", "no-such-service.default.svc.cluster.local"] {
        let done = site.app().probe(&format!("resolve {name}"))?;
        ensure!(done["addresses"].is_null(), "{name}: {done}");
    }
    Ok(())
}

fn outside_names(site: &dyn Site) -> Result<()> {
    for (name, addresses) in &site.facts().outside {
        let done = site.app().probe(&format!("resolve {name}"))?;
        let expected = if addresses.is_empty() { json!(null) } else { json!(addresses) };
        ensure!(done["addresses"] == expected, "{name}: {done}, expected {expected}");
    }
    Ok(())
}

fn outside_by_dig(site: &dyn Site) -> Result<()> {
    let Some(server) = &site.facts().name_server else { return Ok(()) };
    let at = format!("@{server}");
    for (name, addresses) in site.facts().outside.iter().filter(|(name, _)| name.contains('.')) {
        for words in [vec![name.as_str()], vec![name, "+tcp"], vec![name, &at], vec![name, &at, "+tcp"]] {
            ensure!(dig(site, &words)? == *addresses, "{words:?}");
        }
    }
    if site.facts().outside.is_empty() {
        return Ok(());
    }
    let text = site.app().succeed(&["dig", "none.example.test", "+tries=1", "+time=5"])?;
    ensure!(text.contains("NXDOMAIN"), "{text}");
    if site.facts().outside.iter().any(|(name, _)| name == "empty.example.test") {
        let text = site.app().succeed(&["dig", "empty.example.test", "+tries=1", "+time=5"])?;
        ensure!(text.contains("NOERROR"), "{text}");
    }
    Ok(())
}

fn outside_reached(site: &dyn Site) -> Result<()> {
    let Some(url) = &site.facts().outside_url else { return Ok(()) };
    site.app().succeed(&["curl", "-sS", "--max-time", "10", url]).map(drop)
}

/// All A and AAAA records, sorted.
fn dig(site: &dyn Site, words: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for kind in ["A", "AAAA"] {
        let mut all = vec!["dig", "+short", "+tries=1", "+time=5", "-t", kind];
        all.extend(words);
        found.extend(site.app().succeed(&all)?.lines().map(str::to_owned));
    }
    found.sort();
    Ok(found)
}
