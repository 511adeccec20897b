//! A laptop joined to the lab's cluster by `tp connect` through the API server.
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use anyhow::Result;
use tests_behaviour::host::Host;
use tests_behaviour::place::Place;
use tests_behaviour::process::Guard;
use tests_behaviour::site::{Facts, Session, Site};
use tests_behaviour::stage::Stage;
use tests_behaviour::tp::Tp;
use tests_behaviour::workstation::{USER, Workstation};

use crate::lab::Lab;

const MACHINE_DNS: &str = "192.168.77.1";

#[derive(Debug)]
pub struct Kube {
    // the daemon first, then the laptop, then the cluster
    tp: Tp,
    _machine_dns: Guard,
    workstation: Workstation,
    node: Place,
    facts: Facts,
    pristine: Host,
    lab: Lab,
}

impl Kube {
    /// A cluster with the servers of the suite; no manager yet.
    pub fn new(stage: &Stage) -> Result<Self> {
        let probe = stage.bin("tp-probe");
        let lab = Lab::up(&probe)?;
        let images = stage.dir("images")?;
        lab.image(&images, "lab.local/tp-probe:1", &stage.bin("static/tp-probe"))?;
        if stage.bin("static/tp-traffic").exists() {
            lab.image(&images, "lab.local/tp-traffic:0.1.0", &stage.bin("static/tp-traffic"))?;
        }
        let manifest = format!("{}/manifests/servers.yaml", env!("CARGO_MANIFEST_DIR"));
        lab.kubectl(&["apply", "-f", &manifest])?;
        for (namespace, workload) in
            [("default", "deploy/echo"), ("blue", "deploy/echo"), ("default", "statefulset/db")]
        {
            lab.kubectl(&["-n", namespace, "rollout", "status", workload, "--timeout=60s"])?;
        }
        let resolv_conf = format!("nameserver {MACHINE_DNS}\n");
        let workstation = Workstation::new(&lab.user_netns(), &stage.dir("laptop")?, &resolv_conf, &probe)?;
        let log = stage.path().join("machine-dns.log").display().to_string();
        let mut dns = lab.on_the_node(&probe);
        dns.args([
            "dns",
            &format!("{MACHINE_DNS}:53"),
            &log,
            "web.example.test=192.168.77.1",
            "*.wild.example.test=192.0.2.7",
        ]);
        let (machine_dns, _) = Guard::spawn_ready(dns)?;
        // readable by all: some cases connect as root, some as root on behalf of a user
        let kubeconfig = workstation.dir().join("kubeconfig");
        fs::copy(lab.kubeconfig("kubeconfig"), &kubeconfig)?;
        fs::set_permissions(&kubeconfig, fs::Permissions::from_mode(0o644))?;
        let kubeconfig = kubeconfig.display().to_string();
        let tp = Tp::new(stage, workstation.place(), vec!["--kubeconfig".into(), kubeconfig]);
        let facts = facts(&lab)?;
        let pristine = Host::of(&workstation.place(), workstation.pid())?;
        Ok(Self { tp, _machine_dns: machine_dns, workstation, node: lab.node()?, facts, pristine, lab })
    }

    /// Opens the wall and routes the laptop to the cluster: no tp, to prove the cases themselves.
    pub fn open_the_wall(&mut self) -> Result<()> {
        // the cluster's DNS knows nothing of the world outside
        self.facts.outside.clear();
        self.facts.by_search_list = true;
        self.node.succeed(&["nft", "delete table inet lab"])?;
        for subnet in ["10.244.0.0/16", "10.96.0.0/16"] {
            self.app().succeed(&["ip", "route", "add", subnet, "via", MACHINE_DNS])?;
        }
        let search = "search default.svc.cluster.local svc.cluster.local cluster.local";
        self.workstation.set_resolv_conf(&format!("nameserver 10.96.0.10\n{search}\n"))
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// `tp WORDS` with the administrator's kubeconfig, which must succeed.
    pub fn administer(&self, words: &[&str]) -> Result<String> {
        let kubeconfig = self.workstation.dir().join("kubeconfig").display().to_string();
        let mut all = words.to_vec();
        all.extend(["--kubeconfig", kubeconfig.as_str()]);
        self.tp.run(&all)?.success()
    }

    /// A kubeconfig of the lab that only the invoking user can read.
    pub fn private(&self, file: &str) -> Result<String> {
        let to = self.workstation.dir().join(format!("private-{file}"));
        fs::copy(self.lab.kubeconfig(file), &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600))?;
        chown(&to, Some(USER), Some(USER))?;
        Ok(to.display().to_string())
    }
}

impl Site for Kube {
    fn app(&self) -> Place {
        self.workstation.place()
    }

    fn node(&self) -> Place {
        self.node.clone()
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl Session for Kube {
    fn tp(&self) -> &Tp {
        &self.tp
    }

    fn workstation(&self) -> &Workstation {
        &self.workstation
    }

    fn pristine(&self) -> &Host {
        &self.pristine
    }
}

impl Drop for Kube {
    fn drop(&mut self) {
        let _ = self.tp.force_quit();
    }
}

/// What cases may expect of this cluster. It has IPv4 only.
pub fn facts(lab: &Lab) -> Result<Facts> {
    let service = lab.field("default", "service/echo", ".spec.clusterIP")?;
    let blue = lab.field("blue", "service/echo", ".spec.clusterIP")?;
    let pods = [
        lab.field("default", "pod/db-0", ".status.podIP")?,
        lab.field("default", "pod/db-1", ".status.podIP")?,
    ];
    let mut headless = pods.to_vec();
    headless.sort();
    let name = |name: &str, addresses: Vec<String>| (name.to_owned(), addresses);
    let url = |url: String, server: &str| (url, server.to_owned());
    Ok(Facts {
        servers: vec![service.clone(), pods[0].clone()],
        hosts: pods.to_vec(),
        absent: vec!["10.244.0.250".into()],
        urls: vec![
            url("http://echo".into(), "echo"),
            url("http://echo.blue".into(), "blue"),
            url("http://echo.default.svc.cluster.local".into(), "echo"),
            url("http://db-0.db.default.svc.cluster.local:8080".into(), "db-0"),
            url("http://db-1.db:8080".into(), "db-1"),
            url(format!("http://{service}"), "echo"),
            url(format!("http://{}:8080", pods[1]), "db-1"),
        ],
        names: vec![
            name("echo", vec![service.clone()]),
            name("echo.blue", vec![blue]),
            name("echo.default.svc.cluster.local", vec![service]),
            name("db.default.svc.cluster.local", headless),
            name("db-0.db.default.svc.cluster.local", vec![pods[0].clone()]),
        ],
        outside: vec![
            name("web.example.test", vec!["192.168.77.1".into()]),
            name("any.wild.example.test", vec!["192.0.2.7".into()]),
            name("none.example.test", vec![]),
        ],
        name_server: Some(MACHINE_DNS.into()),
        large: 1 << 30,
        ..Facts::default()
    })
}
