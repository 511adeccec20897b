//! Flows that leave from a workload's agent (`--proxy-via`), here a stand-in in a pod of its own.
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests_behaviour::process::eventually;
use tests_behaviour::site::{Session, Site};

use crate::site::Kube;
use crate::suite::{Case, IMAGE};

pub const CASES: &[(&str, Case)] = &[
    ("proxy_via_leaves_from_the_agents_pod", leaves_from_the_pod),
    ("proxy_via_without_the_right_to_port_forward", without_the_right),
];

const PODS: &str = "10.244.0.0/16";

/// The server sees the pod of the agent, and the agent was reached by a port-forward to that pod.
fn leaves_from_the_pod(site: &Kube) -> Result<()> {
    site.ensure_quit()?;
    let lab = site.lab();
    let said = site.tp().connect(&["--proxy-via", &format!("{PODS}=mesh")])?.failure(1)?;
    ensure!(said.contains("workload mesh") && said.contains("no agent"), "{said}");
    let pod_ip = mesh(site)?;
    site.tp().connect(&["--proxy-via", &format!("{PODS}=mesh")])?.success()?;
    let who = || site.app().probe("echo db-0.db:7778 x");
    let done = who()?;
    ensure!(
        done["answer"].as_str().is_some_and(|answer| answer.contains(&format!("peer={pod_ip}:"))),
        "{done}"
    );
    ensure!(done["peer"].as_str().is_some_and(|peer| peer.starts_with("246.246.")), "{done}");
    let done = site.app().probe("udp db-0.db:7777 1000 20")?;
    ensure!(done["good"] == 20, "{done}");
    reached(site, "port-forward")?;
    // another pod takes over
    lab.kubectl(&["rollout", "restart", "deploy/mesh"])?;
    lab.kubectl(&["rollout", "status", "deploy/mesh", "--timeout=60s"])?;
    eventually(Duration::from_secs(30), || {
        let done = who()?;
        let answer = done["answer"].as_str().unwrap_or_default();
        ensure!(answer.contains("name=db-0") && !answer.contains(&format!("peer={pod_ip}:")), "{done}");
        Ok(())
    })?;
    lab.kubectl(&["delete", "deploy/mesh", "--cascade=foreground"])?;
    site.ensure_quit()
}

/// The chart's rights of a developer end at the manager's pod; so does his port-forward, and the manager dials the agent.
fn without_the_right(site: &Kube) -> Result<()> {
    site.ensure_quit()?;
    let mut words = vec!["helm", "upgrade", "--timeout", "90s"];
    words.extend(IMAGE);
    words.extend(["--set", "clientRbac.create=true", "--set", "clientRbac.subjects[0].kind=User"]);
    words.extend(["--set", "clientRbac.subjects[0].name=developer"]);
    site.administer(&words)?;
    let pod_ip = mesh(site)?;
    // for root himself, so that there is a home with a log in it
    let kubeconfig = site.workstation().dir().join("kubeconfig-of-a-developer");
    fs::copy(site.lab().kubeconfig("kubeconfig-developer"), &kubeconfig)?;
    let kubeconfig = kubeconfig.display().to_string();
    let via = format!("{PODS}=mesh");
    site.tp().run(&["connect", "--kubeconfig", &kubeconfig, "--proxy-via", &via])?.success()?;
    let done = site.app().probe("echo db-0.db:7778 x")?;
    ensure!(
        done["answer"].as_str().is_some_and(|answer| answer.contains(&format!("peer={pod_ip}:"))),
        "{done}"
    );
    reached(site, "through the manager")?;
    site.lab().kubectl(&["delete", "deploy/mesh", "--cascade=foreground"])?;
    site.ensure_quit()
}

/// Starts the workload `mesh`, which is nothing but an agent; its pod's address. The pods of the one before must be gone.
fn mesh(site: &Kube) -> Result<String> {
    let lab = site.lab();
    let manifest = site.workstation().dir().join("mesh.json");
    fs::write(&manifest, deployment(&manager(site)?))?;
    lab.kubectl(&["apply", "-f", &manifest.display().to_string()])?;
    lab.kubectl(&["rollout", "status", "deploy/mesh", "--timeout=60s"])?;
    lab.kubectl(&["get", "pods", "-l", "app=mesh", "-o", "jsonpath={.items[0].status.podIP}"])
}

/// The daemon's log tells which way the agent was reached.
fn reached(site: &Kube, way: &str) -> Result<()> {
    let status = site.tp().status()?;
    let log = fs::read_to_string(status["daemon"]["log_file"].as_str().context("no log in the status")?)?;
    let chosen = log.lines().rev().find(|line| line.contains("an agent is the exit")).unwrap_or_default();
    ensure!(
        chosen.contains(&format!("way=\"{way}\"")),
        "the agent was reached in another way: {chosen}\n{log}"
    );
    Ok(())
}

/// URL of the manager's pod: a static program in an empty image is no match for the cluster's DNS.
fn manager(site: &Kube) -> Result<String> {
    let words = ["-n", "ambassador", "get", "pods", "-l", "app=traffic-manager", "-o"];
    let ip = site.lab().kubectl(&[&words[..], &["jsonpath={.items[0].status.podIP}"]].concat())?;
    Ok(format!("http://{ip}:8081"))
}

fn deployment(manager: &str) -> String {
    let field =
        |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let agent = json!({
        "name": "traffic-agent",
        "image": "lab.local/tp-probe:1",
        "imagePullPolicy": "Never",
        "env": [field("POD", "metadata.name"), field("POD_IP", "status.podIP")],
        "args": ["agent", "mesh", "default", "$(POD)", "$(POD_IP)", manager],
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "mesh", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "mesh"}},
            "template": {
                "metadata": {"labels": {"app": "mesh"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [agent]},
            },
        },
    })
    .to_string()
}
