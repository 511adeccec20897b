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
    // a container without privileges may not bind 443 under this container runtime
    words.extend(["--set", "agentInjector.webhook.port=8443"]);
    words.extend([
        "--set",
        "image.registry=lab.local",
        "--set",
        "image.pullPolicy=Never",
        "--set",
        "image.tag=2.20.2",
    ]);
    site.app().succeed(&words)?;
    // a new Telepresence manager learns the pods' networks only after a while
    site.ensure_connected()?;
    let pod = &site.facts().hosts[0];
    eventually(Duration::from_secs(30), || site.app().succeed(&["ip", "route", "get", pod]).map(drop))
}
