//! The same cases against a real Telepresence 2.20 traffic-manager in place of ours.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use tests_behaviour::cases;
use tests_behaviour::place::Place;
use tests_behaviour::process::eventually;
use tests_behaviour::runner::trial;
use tests_behaviour::site::{Facts, Session, Site};

use crate::site::Kube;

/// The same laptop and cluster, with lower expectations where the wire has no word for it.
#[derive(Debug)]
struct Foreign {
    site: Arc<Kube>,
    facts: Facts,
}

impl Site for Foreign {
    fn app(&self) -> Place {
        self.site.app()
    }

    fn node(&self) -> Place {
        self.site.node()
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }
}

pub fn trials(site: &Arc<Kube>) -> Vec<Trial> {
    let manager = site.clone();
    let mut trials = vec![trial("telepresence_manager_installed", move || install(&manager))];
    for (name, case) in cases::all() {
        let site = site.clone();
        trials.push(trial(format!("telepresence_{name}"), move || {
            site.ensure_connected()?;
            // pods may have other addresses by now
            let facts = Facts { telepresence: true, large: 64 << 20, ..crate::site::facts(site.lab())? };
            case(&Foreign { site, facts })
        }));
    }
    let own = site.clone();
    trials.push(trial("telepresence_proxy_via_an_agent_of_its_own", move || own_agent(&own)));
    let last = site.clone();
    trials.push(trial("telepresence_status_and_quit", move || {
        last.ensure_connected()?;
        let status = last.tp().status()?.to_string();
        ensure!(status.contains("2.20.2"), "the manager's version is not shown: {status}");
        last.tp().quit()?;
        last.tp().wait_gone()
    }));
    trials
}

fn install(site: &Kube) -> Result<()> {
    site.ensure_quit()?;
    let lab = site.lab();
    let image = lab.peer("images/telepresence.tar");
    ensure!(
        Path::new(&image).exists(),
        "no image of Telepresence\n\nhint: tests/kube/lab/peers.sh telepresence"
    );
    lab.load_image(&image)?;
    let (helm, chart) =
        (lab.peer("bin/helm").display().to_string(), lab.peer("charts/telepresence").display().to_string());
    let values = format!("{}/lab/telepresence.yaml", env!("CARGO_MANIFEST_DIR"));
    let kubeconfig = site.workstation().dir().join("kubeconfig").display().to_string();
    let mut words = vec![
        helm.as_str(),
        "--kubeconfig",
        &kubeconfig,
        "-n",
        "ambassador",
        "install",
        "traffic-manager",
        &chart,
    ];
    words.extend(["--create-namespace", "--wait", "--timeout", "90s"]);
    words.extend(["-f", &values]);
    site.app().succeed(&words)?;
    // a new Telepresence manager learns the pods' networks only after a while
    site.ensure_connected()?;
    let pod = &site.facts().hosts[0];
    eventually(Duration::from_secs(30), || site.app().succeed(&["ip", "route", "get", pod]).map(drop))
}

/// Telepresence's manager injects its agent into the workload's pods, and flows leave from there.
fn own_agent(site: &Kube) -> Result<()> {
    site.ensure_quit()?;
    let manifest = format!("{}/manifests/named-port.yaml", env!("CARGO_MANIFEST_DIR"));
    site.lab().kubectl(&["apply", "-f", &manifest])?;
    site.lab().kubectl(&["rollout", "status", "deploy/named", "--timeout=60s"])?;
    site.tp().connect(&["--proxy-via", "10.244.0.0/16=named"])?.success()?;
    let done = site.app().probe("echo db-0.db:7778 x")?;
    let answer = done["answer"].as_str().unwrap_or_default();
    let fields = "jsonpath={.items[*].status.podIP} {.items[*].spec.containers[*].name}";
    // the agent is faster than the API server's knowledge of its pod
    eventually(Duration::from_secs(20), || {
        let pods = site.lab().kubectl(&["get", "pods", "-l", "app=named", "-o", fields])?;
        ensure!(pods.contains("traffic-agent"), "no agent was injected: {pods}");
        let from = |ip: &str| answer.contains(&format!("peer={ip}:"));
        ensure!(pods.split_whitespace().any(from), "{done} is not from one of {pods}");
        Ok(())
    })?;
    let done = site.app().probe("udp db-0.db:7777 1000 20")?;
    ensure!(done["good"] == 20, "{done}");
    let done = site.app().probe("connect db-0.db:9")?;
    ensure!(done["outcome"] == "ECONNREFUSED", "{done}");
    site.ensure_quit()
}
