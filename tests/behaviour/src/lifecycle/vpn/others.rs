//! What is no VPN, and has networks too: a second LAN, Docker's bridge, routes that throw away.
use anyhow::{Context, Result, ensure};

use super::{
    Guard, NAME, NOTICED_WITHIN, OwnCase, Vpn, answers, both_in_reach, connected, eventually, is_virtual,
};
use crate::netns::Netns;
use crate::site::Site;
use crate::standalone::Standalone;

pub(super) const CASES: &[(&str, OwnCase)] = &[
    ("lan_with_the_clusters_numbers", lan),
    ("docker_bridge_with_the_clusters_numbers", docker),
    ("routes_that_throw_away", blackholes),
];

/// On-link: the office's hosts are neighbours.
fn lan(site: &Standalone) -> Result<()> {
    let vpn = Vpn::new(site, "eth9")?;
    vpn.ws.ip("addr add 10.55.1.200/24 dev eth9")?;
    vpn.office.ip("addr add 10.55.1.11/24 dev ws0")?;
    connected(site, &[], |said| {
        ensure!(said.contains("eth9") && said.contains("LAN"), "{said}");
        both_in_reach(site)?;
        answers(site, "10.55.1.11", "office")?;
        // the rest of the cluster is where it always is
        ensure!(answers(site, "10.55.0.10", "echo")? == "10.55.0.10");
        Ok(())
    })
}

/// Its containers reach the cluster too: by the workstation's routes, and by a virtual address although their own
/// address is one that the cluster has.
fn docker(site: &Standalone) -> Result<()> {
    let (ws, container) = (site.topology().ws(), Netns::new("box")?);
    ws.ip("link add docker9 type bridge")?;
    ws.ip("link set docker9 up")?;
    ws.ip("addr add 10.55.1.200/24 dev docker9")?;
    ws.veth("box0", &container, "eth0")?;
    ws.ip("link set box0 master docker9")?;
    container.ip("addr add 10.55.1.50/24 dev eth0")?;
    container.ip("route add default via 10.55.1.200")?;
    ws.sysctl("net.ipv4.ip_forward=1")?;
    let reaches = |host: &str, server: &str| -> Result<()> {
        let mut command = container.enter();
        command.args(["curl", "-sS", "--max-time", "10", &format!("http://{host}:8080")]);
        let out = command.output().context("a program in the container")?;
        let text = String::from_utf8_lossy(&out.stdout);
        ensure!(text.contains(&format!("\"{server}\"")), "{host} from the container: {text}");
        Ok(())
    };
    let result = (|| {
        let mut command = container.enter();
        command.arg(site.program("tp-probe")).args(["serve", "box"]);
        let _server = Guard::spawn_ready(command)?;
        eventually(NOTICED_WITHIN, || {
            let link = site.app().succeed(&["ip", "link", "show", "docker9"])?;
            ensure!(link.contains("state UP"), "{link}");
            Ok(())
        })?;
        connected(site, &[], |said| {
            ensure!(said.contains("docker9") && said.contains("Docker bridge"), "{said}");
            answers(site, "10.55.1.50", "box")?;
            reaches("10.55.0.10", "echo")?;
            let peer = answers(site, NAME, "db-0")?;
            ensure!(is_virtual(&peer), "{peer}");
            reaches(&peer, "db-0")
        })
    })();
    ws.sysctl("net.ipv4.ip_forward=0")?;
    ws.ip("link del box0")?;
    ws.ip("link del docker9")?;
    result
}

fn blackholes(site: &Standalone) -> Result<()> {
    let ws = site.topology().ws();
    let routes = ["blackhole 10.0.0.0/8", "prohibit 10.55.1.2/32"];
    for route in routes {
        ws.ip(&format!("route add {route}"))?;
    }
    let result = connected(site, &[], |_| {
        // a broader one blocks everything that is nobody's
        ensure!(answers(site, "10.55.0.10", "echo")? == "10.55.0.10");
        // one for this very address was meant, and a virtual address is another
        let done = site.app().probe("connect 10.55.1.2:7778 3")?;
        ensure!(done["outcome"] == "EACCES", "{done}");
        ensure!(is_virtual(&answers(site, NAME, "db-0")?));
        Ok(())
    });
    for route in routes {
        ws.ip(&format!("route del {route}"))?;
    }
    result
}
