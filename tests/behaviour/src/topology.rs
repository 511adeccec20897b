//! A cluster side and a workstation, as network namespaces: the stage of every site that is not Kubernetes.
//!
//! ```text
//! ws (workstation)                   cl (the node)                               pod
//!   eth0 192.0.2.2 2001:db8::2 <---> lan0 192.0.2.1 2001:db8::1
//!                                    lo   10.55.0.10 10.55.0.53 fd55::10
//!                                    pods 10.55.1.1 fd55:0:0:1::1          <---> eth0 10.55.1.2 10.55.1.3 fd55:0:0:1::2
//! ```
//! No namespace has a default route. 10.55.1.3 drops everything, 10.55.1.99 does not exist, 10.55.2.0/24 is unreachable.
use std::path::Path;

use anyhow::Result;

use crate::netns::Netns;
use crate::place::Place;
use crate::process::Guard;
use crate::site::Facts;
use crate::stage::Stage;
use crate::workstation::Workstation;

/// The cluster's networks, as the manager is told.
pub const SUBNETS: [&str; 4] = ["10.55.0.0/24", "10.55.1.0/24", "10.55.2.0/24", "fd55::/48"];
pub const NODE: &str = "192.0.2.1";

pub const CLUSTER_DNS: &str = "10.55.0.53:53";
const MACHINE_DNS: &str = "192.0.2.1:53";
const CLUSTER_RECORDS: [&str; 8] = [
    "echo.default.svc.cluster.local=10.55.0.10,fd55::10",
    "echo.blue.svc.cluster.local=10.55.1.2",
    "db.default.svc.cluster.local=10.55.1.2",
    "db-0.db.default.svc.cluster.local=10.55.1.2",
    "*.many.default.svc.cluster.local=10.55.1.2",
    "kubernetes.default.svc.cluster.local=10.55.0.1",
    // as in a mesh whose sidecars listen on every pod's own loopback
    "mesh.default.svc.cluster.local=127.0.0.1",
    "six.default.svc.cluster.local=::1",
];
const MACHINE_RECORDS: [&str; 3] =
    ["web.example.test=192.0.2.1,2001:db8::1", "empty.example.test=", "*.wild.example.test=192.0.2.7"];
const SEARCH: &str = "search default.svc.cluster.local svc.cluster.local cluster.local\n";

#[derive(Debug)]
pub struct Topology {
    // processes before namespaces
    _servers: Vec<Guard>,
    workstation: Workstation,
    node: Workstation,
    ws: Netns,
    cl: Netns,
    pod: Netns,
    machine_dns_log: std::path::PathBuf,
}

impl Topology {
    /// `machine_knows_cluster`: the machine's own name server serves the cluster's names too (plain routing).
    pub fn new(stage: &Stage, name: &str, machine_knows_cluster: bool) -> Result<Self> {
        let (ws, cl, pod) = (Netns::new("ws")?, Netns::new("cl")?, Netns::new("pod")?);
        wire(&ws, &cl, &pod)?;
        let dir = stage.dir(name)?;
        let probe = stage.bin("tp-probe");
        let mut resolv_conf = format!("nameserver {NODE}\n");
        let mut machine_records = MACHINE_RECORDS.to_vec();
        if machine_knows_cluster {
            resolv_conf.push_str(SEARCH);
            machine_records.extend(CLUSTER_RECORDS);
        }
        let workstation = Workstation::of(&ws, &dir.join("ws"), &resolv_conf, &probe)?;
        let cluster_resolv_conf = format!("nameserver 10.55.0.53\n{SEARCH}");
        let node = Workstation::of(&cl, &dir.join("node"), &cluster_resolv_conf, &probe)?;
        let machine_dns_log = dir.join("machine-dns.log");
        let servers = vec![
            probe_server(&cl, &probe, &["serve", "echo", "10.55.0.10", "fd55::10", NODE])?,
            probe_server(&pod, &probe, &["serve", "db-0", "10.55.1.2", "10.55.1.3", "fd55:0:0:1::2"])?,
            dns(&cl, &probe, CLUSTER_DNS, &dir.join("cluster-dns.log"), &CLUSTER_RECORDS)?,
            dns(&cl, &probe, MACHINE_DNS, &machine_dns_log, &machine_records)?,
        ];
        Ok(Self { _servers: servers, workstation, node, ws, cl, pod, machine_dns_log })
    }

    pub fn workstation(&self) -> &Workstation {
        &self.workstation
    }

    pub fn node(&self) -> Place {
        self.node.place()
    }

    /// The workstation's network namespace.
    pub fn ws(&self) -> &Netns {
        &self.ws
    }

    /// The node's network namespace.
    pub fn cl(&self) -> &Netns {
        &self.cl
    }

    /// The pod's network namespace.
    pub fn pod(&self) -> &Netns {
        &self.pod
    }

    /// What the machine's own name server has been asked so far.
    pub fn machine_dns_questions(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.machine_dns_log)?)
    }
}

/// What cases may expect here.
pub fn facts() -> Facts {
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let names =
        |list: &[(&str, &[&str])]| list.iter().map(|(n, a)| (n.to_string(), texts(a))).collect::<Vec<_>>();
    let urls =
        |list: &[(&str, &str)]| list.iter().map(|(u, n)| (u.to_string(), n.to_string())).collect::<Vec<_>>();
    Facts {
        servers: texts(&["10.55.0.10", "10.55.1.2", "[fd55::10]", "[fd55:0:0:1::2]"]),
        hosts: texts(&["10.55.0.10", "10.55.1.2", "[fd55::10]", "[fd55:0:0:1::2]"]),
        absent: texts(&["10.55.1.99", "10.55.2.1", "[fd55:0:0:1::99]"]),
        silent: texts(&["10.55.1.3"]),
        urls: urls(&[
            ("http://echo", "echo"),
            ("http://echo.blue", "db-0"),
            ("http://echo.default.svc.cluster.local:8080", "echo"),
            ("http://db-0.db.default.svc.cluster.local", "db-0"),
            ("http://db-0.db", "db-0"),
            ("http://10.55.0.10", "echo"),
            ("http://[fd55::10]", "echo"),
        ]),
        names: names(&[
            ("echo", &["10.55.0.10", "fd55::10"]),
            ("echo.default.svc.cluster.local", &["10.55.0.10", "fd55::10"]),
            ("echo.blue", &["10.55.1.2"]),
            ("db-0.db.default.svc.cluster.local", &["10.55.1.2"]),
        ]),
        outside: names(&[
            ("web.example.test", &["192.0.2.1", "2001:db8::1"]),
            ("any.wild.example.test", &["192.0.2.7"]),
            ("localhost", &["127.0.0.1", "::1"]),
            ("none.example.test", &[]),
            ("empty.example.test", &[]),
        ]),
        name_server: Some(NODE.into()),
        outside_url: Some("http://web.example.test:8080".into()),
        large: 64 << 20,
        ..Facts::default()
    }
}

fn wire(ws: &Netns, cl: &Netns, pod: &Netns) -> Result<()> {
    ws.veth("eth0", cl, "lan0")?;
    cl.veth("pods", pod, "eth0")?;
    for (netns, device, addresses) in [
        (ws, "eth0", &["192.0.2.2/24", "2001:db8::2/64"][..]),
        (cl, "lan0", &["192.0.2.1/24", "2001:db8::1/64"]),
        (cl, "lo", &["10.55.0.10/32", "10.55.0.53/32", "fd55::10/128"]),
        (cl, "pods", &["10.55.1.1/24", "fd55:0:0:1::1/64"]),
        (pod, "eth0", &["10.55.1.2/24", "10.55.1.3/24", "fd55:0:0:1::2/64"]),
    ] {
        for address in addresses {
            netns.ip(&format!("addr add {address} dev {device}"))?;
        }
    }
    cl.ip("route add unreachable 10.55.2.0/24")?;
    cl.sysctl("net.ipv4.ip_forward=1")?;
    cl.sysctl("net.ipv6.conf.all.forwarding=1")?;
    pod.ip("route add default via 10.55.1.1")?;
    pod.ip("-6 route add default via fd55:0:0:1::1")?;
    pod.nft("add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in ip daddr 10.55.1.3 drop")
}

fn dns(netns: &Netns, probe: &Path, listen: &str, log: &Path, records: &[&str]) -> Result<Guard> {
    let log = log.display().to_string();
    let mut words = vec!["dns", listen, &log];
    words.extend(records);
    probe_server(netns, probe, &words)
}

fn probe_server(netns: &Netns, probe: &Path, words: &[&str]) -> Result<Guard> {
    let mut command = netns.enter();
    command.arg(probe).args(words);
    Ok(Guard::spawn_ready(command)?.0)
}
