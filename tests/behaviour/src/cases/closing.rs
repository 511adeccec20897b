//! How connections end: half-close each way, reset each way, and every order of the two.
use anyhow::{Result, bail, ensure};

use super::Case;
use crate::site::Site;

pub const CASES: &[(&str, Case)] = &[
    ("closing_app_half_then_answer", client_half),
    ("closing_server_half_then_more_from_the_app", server_half),
    ("closing_every_order_as_on_the_node", every_order),
];

fn client_half(site: &dyn Site) -> Result<()> {
    if site.facts().telepresence {
        return Ok(());
    }
    for server in &site.facts().servers {
        let done = site.app().probe(&format!("client-half {server} 1000003 31"))?;
        ensure!(done["answer"] == "1000003 true", "{server}: {done}");
    }
    Ok(())
}

fn server_half(site: &dyn Site) -> Result<()> {
    if site.facts().telepresence {
        return Ok(());
    }
    for server in &site.facts().servers {
        let done = site.app().probe(&format!("server-half {server} 1000003 32"))?;
        let right = done["bytes"] == 1_000_003 && done["right"] == true && done["server"] == "1000003 true";
        ensure!(right, "{server}: {done}");
    }
    Ok(())
}

fn every_order(site: &dyn Site) -> Result<()> {
    if site.facts().telepresence {
        return Ok(());
    }
    let server = &site.facts().servers[0];
    let (app, node) =
        (site.app().probe(&format!("orders {server}"))?, site.node().probe(&format!("orders {server}"))?);
    let (Some(app), Some(node)) = (app.as_object(), node.as_object()) else {
        bail!("no orders: {app} {node}")
    };
    ensure!(!node.is_empty() && !node.contains_key("error"), "the node itself fails: {node:?}");
    let mut wrong = String::new();
    for (order, expected) in node {
        let seen = app.get(order).cloned().unwrap_or_default();
        if seen != *expected {
            wrong.push_str(&format!("\n  {order}: {seen}, on the node {expected}"));
        }
    }
    ensure!(wrong.is_empty(), "not as on the node:{wrong}");
    Ok(())
}
