//! Workstations beside a node, a veth between: no Kubernetes, the standalone manager.
//!
//! ```text
//! workstation n  eth0 192.0.2.x/30 <---> ws<n>  node: lo 10.99.0.1 (managers, relay 2), 10.96.0.10 (sink), 10.96.0.53 (names)
//! ```
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::namespace::Namespace;
use super::place::Server;
use super::programs::Programs;
use super::run::Run;
use super::session::Session;
use super::subjects::{self, Site, Subject};
use crate::sh;

pub(crate) const NAME: &str = "veth";
/// In the order of their turns.
pub(crate) const SUBJECTS: [&str; 7] =
    ["raw", "relays", "userspace-1500", "userspace", "ebpf", "ebpf-vip", "ebpf-tls"];

const NODE: &str = "10.99.0.1";
const SERVICES: &str = "10.96.0.0/16";
const SINK: &str = "10.96.0.10:9000";
const NAME_SERVER: &str = "10.96.0.53";
const DNS: &str = "10.96.0.53:53";
/// Looked up, and the sink's.
const SINK_NAME: &str = "sink.default.svc.cluster.local";

/// What stands on the node's side.
#[derive(Debug)]
struct Node<'a> {
    programs: &'a Programs,
    dir: PathBuf,
    namespace: Namespace,
}

/// A manager and the URL to join it.
type Manager = (Server, String);

pub(crate) fn site(
    programs: &Programs,
    dir: &Path,
    wanted: impl Fn(&str) -> bool,
    run: &mut Run,
) -> Result<Site> {
    let dir = dir.join(NAME);
    let node = Node { programs, namespace: Namespace::new("node", &dir, NAME_SERVER)?, dir };
    for address in [NODE, "10.96.0.10", NAME_SERVER] {
        sh::read(&mut sh::cmd(&format!("ip -n {} addr add {address}/32 dev lo", node.namespace.name())))?;
    }
    let sink = node.serve("tp-traffic", &["sink", "--listen", SINK], ":9000", "sink")?.0;
    let record = format!("{SINK_NAME}=10.96.0.10");
    let dns = node.serve("tp-probe", &["dns", DNS, "/dev/null", &record], "serving", "dns")?.0;
    let plain = node.manager("7900", &["--insecure-plaintext"], "manager")?;
    let state = node.dir.join("state").display().to_string();
    let tls = node.manager("7901", &["--state-dir", &state], "manager-tls")?;
    let make = |n, name| node.subject(n, name, if name == "ebpf-tls" { &tls } else { &plain });
    let subjects = subjects::wanted(NAME, &SUBJECTS, wanted, run, make);
    Ok(Site {
        name: NAME,
        subjects,
        sink: Some(sink.pid()),
        programs: programs.clone(),
        _servers: vec![sink, dns, plain.0, tls.0],
        _ground: Box::new(node.namespace),
    })
}

impl Node<'_> {
    fn serve(&self, program: &str, words: &[&str], ready: &str, log: &str) -> Result<(Server, String)> {
        serve(&self.namespace, &self.programs.word(program), words, ready, &self.dir.join(log))
    }

    fn manager(&self, port: &str, more: &[&str], log: &str) -> Result<Manager> {
        let listen = format!("{NODE}:{port}");
        let mut words = vec!["manager", "--standalone", "--listen", &listen];
        words.extend(["--subnet", SERVICES, "--dns", DNS]);
        words.extend(more);
        let (server, line) = self.serve("tp-traffic", &words, "tp", log).context("the standalone manager")?;
        let url = line.split_whitespace().find(|word| word.starts_with("tp") && word.contains("://"));
        Ok((server, url.context("the manager printed no URL to join")?.to_owned()))
    }

    /// The workstation of number `n`, and how it reaches the sink.
    fn subject(&self, n: usize, name: &'static str, manager: &Manager) -> Result<Subject> {
        // tp never routes the machine's own name servers into the tunnel
        let name_server = if name == "raw" { NAME_SERVER } else { NODE };
        let workstation = Namespace::new(name, &self.dir, name_server)?;
        workstation.wire(n, self.namespace.name(), "192.0.2", NODE)?;
        match name {
            "raw" => {
                let route = format!("route add {SERVICES} via 192.0.2.{}", 4 * n + 1);
                sh::read(&mut sh::cmd(&format!("ip -n {} {route}", workstation.name())))?;
                Ok(Subject::on(name, workstation, SINK).udp(SINK_NAME))
            }
            "relays" => {
                let (near, far) = ("127.0.0.1:7001", format!("{NODE}:7002"));
                let second = self.serve("tp-probe", &["relay", &far, SINK], "relaying", "relay-2")?.0;
                let (probe, log) = (self.programs.word("tp-probe"), self.dir.join("relay-1"));
                let first = serve(&workstation, &probe, &["relay", near, &far], "relaying", &log)?.0;
                let subject = Subject::on(name, workstation, near);
                Ok(subject.server("relay 1", first).server("relay 2", second))
            }
            // as they are called on the command line, the first not in its help
            "userspace-1500" | "userspace" => {
                self.joined(name, workstation, manager, &["--dataplane", name], SINK)
            }
            // its name leads to the virtual address
            "ebpf-vip" => {
                let target = format!("{SINK_NAME}:9000");
                self.joined(name, workstation, manager, &["--dataplane", "ebpf", "--vnat", SERVICES], &target)
            }
            _ => self.joined(name, workstation, manager, &["--dataplane", "ebpf"], SINK),
        }
    }

    fn joined(
        &self,
        name: &'static str,
        workstation: Namespace,
        (manager, url): &Manager,
        more: &[&str],
        target: &str,
    ) -> Result<Subject> {
        let plaintext = url.starts_with("tp+plain:").then_some("--insecure-plaintext");
        let words = ["--manager", url].into_iter().chain(plaintext).chain(more.iter().copied());
        let session = Session::connect(&workstation, self.programs, words.map(str::to_owned).collect())?;
        let subject = Subject::on(name, workstation, target).udp(SINK_NAME);
        Ok(subject.session(session).roles(&[("manager", manager.pid())]))
    }
}

fn serve(
    namespace: &Namespace,
    program: &str,
    words: &[&str],
    ready: &str,
    log: &Path,
) -> Result<(Server, String)> {
    let all: Vec<&str> = std::iter::once(program).chain(words.iter().copied()).collect();
    namespace.place().serve(&all, ready, log)
}
