//! Connections: open, refused, unreachable, silent; and bytes, many of them, each way.
use anyhow::{Result, ensure};
use serde_json::Value;

use super::Case;
use crate::site::Site;

pub const CASES: &[(&str, Case)] = &[
    ("tcp_echo_by_address", echo),
    ("tcp_http_by_name_and_address", http),
    ("tcp_closed_port_is_refused", closed_port),
    ("tcp_absent_host_as_on_the_node", absent_host),
    ("tcp_silent_host_keeps_waiting", silent_host),
    ("tcp_download_every_byte", download),
    ("tcp_upload_every_byte", upload),
    ("tcp_reader_that_pauses", slow_reader),
    ("tcp_hundred_one_after_another", serial),
];

fn echo(site: &dyn Site) -> Result<()> {
    for server in &site.facts().servers {
        let done = site.app().probe(&format!("echo {server}:7777 hello-{}", server.len()))?;
        ensure!(done["answer"] == format!("hello-{}", server.len()), "{server}: {done}");
        // the app's view of the connection is the address it asked for
        ensure!(done["peer"] == format!("{server}:7777"), "{server}: {done}");
    }
    Ok(())
}

fn http(site: &dyn Site) -> Result<()> {
    for (url, server) in &site.facts().urls {
        let text = site.app().succeed(&["curl", "-sS", "--max-time", "20", url])?;
        let answer: Value = serde_json::from_str(&text)?;
        ensure!(
            answer["name"].as_str().is_some_and(|name| name.starts_with(server.as_str())),
            "{url}: {text}"
        );
    }
    Ok(())
}

fn closed_port(site: &dyn Site) -> Result<()> {
    for host in &site.facts().hosts {
        let done = site.app().probe(&format!("connect {host}:9"))?;
        ensure!(done["outcome"] == "ECONNREFUSED", "{host}: {done}");
    }
    Ok(())
}

fn absent_host(site: &dyn Site) -> Result<()> {
    for host in &site.facts().absent {
        let (app, node) = (
            site.app().probe(&format!("connect {host}:80"))?,
            site.node().probe(&format!("connect {host}:80"))?,
        );
        if site.facts().telepresence {
            ensure!(app["outcome"] != "open", "{host}: {app} though the node itself says {node}");
        } else {
            ensure!(app["outcome"] == node["outcome"], "{host}: {app} though the node itself says {node}");
        }
    }
    Ok(())
}

fn silent_host(site: &dyn Site) -> Result<()> {
    for host in &site.facts().silent {
        let done = site.app().probe(&format!("connect {host}:80 2"))?;
        ensure!(done["outcome"] == "TIMEOUT", "{host}: {done}");
    }
    Ok(())
}

fn download(site: &dyn Site) -> Result<()> {
    for (server, seed) in site.facts().servers.iter().zip(11..) {
        let bytes = share(site, server);
        let done = site.app().probe(&format!("download {server} {bytes} {seed}"))?;
        ensure!(done["bytes"] == bytes && done["right"] == true, "{server}: {done}");
    }
    Ok(())
}

fn upload(site: &dyn Site) -> Result<()> {
    for (server, seed) in site.facts().servers.iter().zip(21..) {
        let bytes = share(site, server);
        let done = site.app().probe(&format!("upload {server} {bytes} {seed}"))?;
        ensure!(done["answer"] == format!("{bytes} true"), "{server}: {done}");
    }
    Ok(())
}

/// The first server gets the whole amount, the others a sixteenth; never a round number.
fn share(site: &dyn Site, server: &str) -> u64 {
    let large = site.facts().large;
    if site.facts().servers.first().is_some_and(|first| first == server) {
        large + 1
    } else {
        large / 16 + 13
    }
}

fn slow_reader(site: &dyn Site) -> Result<()> {
    let server = &site.facts().servers[0];
    let done = site.app().probe(&format!("slow-reader {server} 30000001 5 1500"))?;
    ensure!(done["bytes"] == 30_000_001 && done["right"] == true, "{done}");
    Ok(())
}

fn serial(site: &dyn Site) -> Result<()> {
    let done = site.app().probe(&format!("serial {}:7777 100", site.facts().servers[0]))?;
    ensure!(done["good"] == 100, "{done}");
    Ok(())
}
