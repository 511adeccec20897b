//! Workstations beside a node, a veth between: no Kubernetes, the standalone manager.
//!
//! ```text
//! workstation n  eth0 192.0.2.x/30 <---> ws<n>  node: lo 10.99.0.1 (managers, relay 2), 10.96.0.10 (sink), 10.96.0.53 (names)
//! ```
use std::path::Path;

use anyhow::{Context, Result};

use super::namespace::Namespace;
use super::place::Server;
use super::programs::Programs;
use super::run::Run;
use super::session::Session;
use super::subjects::{Site, Subject, has_flag};
use crate::sh;

pub(crate) const NAME: &str = "veth";
/// In the order of their turns.
pub(crate) const SUBJECTS: [&str; 6] = ["raw", "relays", "userspace", "ebpf", "ebpf-vip", "ebpf-tls"];

const NODE: &str = "10.99.0.1";
const SERVICES: &str = "10.96.0.0/16";
const SINK: &str = "10.96.0.10:9000";
const NAME_SERVER: &str = "10.96.0.53";
const DNS: &str = "10.96.0.53:53";
/// Looked up, and the sink's.
const SINK_NAME: &str = "sink.default.svc.cluster.local";

/// Those that are wanted; one that cannot be is told and left out.
pub(crate) fn site(
    programs: &Programs,
    dir: &Path,
    wanted: impl Fn(&str) -> bool,
    run: &mut Run,
) -> Result<Site> {
    let dir = dir.join(NAME);
    let node = Namespace::new("node", &dir, NAME_SERVER)?;
    for address in [NODE, "10.96.0.10", NAME_SERVER] {
        sh::read(&mut sh::cmd(&format!("ip -n {} addr add {address}/32 dev lo", node.name())))?;
    }
    let serve = |words: &[&str], ready: &str, log: &str| node.place().serve(words, ready, &dir.join(log));
    let (traffic, probe) = (programs.word("tp-traffic"), programs.word("tp-probe"));
    let (sink, _) = serve(&[&traffic, "sink", "--listen", SINK], ":9000", "sink")?;
    let record = format!("{SINK_NAME}=10.96.0.10");
    let (dns, _) = serve(&[&probe, "dns", DNS, "/dev/null", &record], "serving", "dns")?;
    let manager = |port: &str, more: &[&str], log: &str| -> Result<(Server, String)> {
        let listen = format!("{NODE}:{port}");
        let mut words = vec![traffic.as_str(), "manager", "--standalone", "--listen", &listen];
        words.extend(["--subnet", SERVICES, "--dns", DNS]);
        words.extend(more);
        let (server, line) = serve(&words, "tp", log).context("the standalone manager")?;
        let url = line.split_whitespace().find(|word| word.starts_with("tp") && word.contains("://"));
        Ok((server, url.context("the manager printed no URL to join")?.to_owned()))
    };
    let (plain, plain_url) = manager("7900", &["--insecure-plaintext"], "manager")?;
    let state = dir.join("state").display().to_string();
    let (tls, tls_url) = manager("7901", &["--state-dir", &state], "manager-tls")?;

    let mut subjects = Vec::new();
    for (n, name) in SUBJECTS.into_iter().enumerate().filter(|(_, name)| wanted(name)) {
        // tp never routes the machine's own name servers into the tunnel
        let name_server = if name == "raw" { NAME_SERVER } else { NODE };
        let workstation = Namespace::new(name, &dir, name_server)?;
        workstation.wire(n, node.name(), "192.0.2", NODE)?;
        let joined = |url: &str, more: &[&str]| {
            let plaintext = url.starts_with("tp+plain:").then_some("--insecure-plaintext");
            let words = ["--manager", url].into_iter().chain(plaintext).chain(more.iter().copied());
            let words = words.map(str::to_owned).collect();
            Session::connect(&workstation, programs, words).with_context(|| format!("{name}: tp connect"))
        };
        let subject = match name {
            "raw" => {
                let via = "via 192.0.2.1";
                sh::read(&mut sh::cmd(&format!("ip -n {} route add {SERVICES} {via}", workstation.name())))?;
                Subject::on(name, workstation, SINK).udp(SINK_NAME)
            }
            "relays" => {
                let far = format!("{NODE}:7002");
                let (far_end, _) = serve(&[&probe, "relay", &far, SINK], "relaying", "relay-2")?;
                let near = [probe.as_str(), "relay", "127.0.0.1:7001", &far];
                let (near_end, _) = workstation.place().serve(&near, "relaying", &dir.join("relay-1"))?;
                Subject::on(name, workstation, "127.0.0.1:7001")
                    .server("relay 1", near_end)
                    .server("relay 2", far_end)
            }
            "userspace" => {
                if !has_flag(programs, "--dataplane")? {
                    run.skipped.push(format!("{NAME}, {name}: this tp has no such dataplane"));
                    continue;
                }
                let session = joined(&plain_url, &["--dataplane", "userspace"])?;
                let subject = Subject::on(name, workstation, SINK).udp(SINK_NAME);
                subject.session(session).roles(&[("manager", plain.pid())])
            }
            "ebpf-vip" => {
                let session = joined(&plain_url, &["--vnat", SERVICES])?;
                // the name leads to the virtual address
                let target = format!("{SINK_NAME}:9000");
                let subject = Subject::on(name, workstation, &target).udp(SINK_NAME);
                subject.session(session).roles(&[("manager", plain.pid())])
            }
            _ => {
                let (url, pid) =
                    if name == "ebpf-tls" { (&tls_url, tls.pid()) } else { (&plain_url, plain.pid()) };
                let session = joined(url, &[])?;
                let subject = Subject::on(name, workstation, SINK).udp(SINK_NAME);
                subject.session(session).roles(&[("manager", pid)])
            }
        };
        subjects.push(subject);
    }
    Ok(Site {
        name: NAME,
        subjects,
        sink: Some(sink.pid()),
        programs: programs.clone(),
        _servers: vec![sink, dns, plain, tls],
        _ground: Box::new(node),
    })
}
