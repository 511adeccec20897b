//! Datagrams: sizes up to fragments, many flows, closed ports.
use anyhow::{Result, ensure};

use super::Case;
use crate::site::Site;

pub const CASES: &[(&str, Case)] = &[
    ("udp_there_and_back", exchange),
    ("udp_large_datagrams", large),
    ("udp_two_hundred_flows", flows),
    ("udp_closed_port_as_on_the_node", closed),
];

fn exchange(site: &dyn Site) -> Result<()> {
    for server in &site.facts().servers {
        let smallest = u32::from(site.facts().telepresence);
        for bytes in [smallest, 1, 512, 1400] {
            let done = site.app().probe(&format!("udp {server}:7777 {bytes} 20"))?;
            ensure!(done["good"] == 20, "{server} {bytes} bytes: {done}");
        }
    }
    Ok(())
}

fn large(site: &dyn Site) -> Result<()> {
    for bytes in [1473, 9000, 30000, 60000] {
        let done = site.app().probe(&format!("udp {}:7777 {bytes} 3", site.facts().servers[0]))?;
        ensure!(done["good"] == 3, "{bytes} bytes: {done}");
    }
    Ok(())
}

fn flows(site: &dyn Site) -> Result<()> {
    for server in &site.facts().servers {
        let done = site.app().probe(&format!("udp-flows {server}:7777 200"))?;
        ensure!(done["good"] == 200, "{server}: {done}");
    }
    Ok(())
}

fn closed(site: &dyn Site) -> Result<()> {
    if site.facts().telepresence {
        return Ok(());
    }
    let server = &site.facts().hosts[0];
    let (app, node) = (
        site.app().probe(&format!("udp-closed {server}:9"))?,
        site.node().probe(&format!("udp-closed {server}:9"))?,
    );
    ensure!(app == node, "{app}, on the node {node}");
    Ok(())
}
