//! What only a real cluster can show: the wall around it, pods that come and go, a user with few rights.
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests_behaviour::process::eventually;
use tests_behaviour::site::{Session, Site};
use tests_behaviour::workstation::USER;

use crate::site::Kube;
use crate::suite::{Case, IMAGE, walled_off};

pub const BEFORE: &[(&str, Case)] =
    &[("laptop_is_walled_off", walled_off), ("connect_without_a_manager_installed", other_namespace)];

pub const CONNECTED: &[(&str, Case)] = &[
    ("pods_come_and_go", pods_come_and_go),
    ("service_without_endpoints_as_on_the_node", no_endpoints),
    ("records_of_other_types", records),
    ("invoking_user_reads_his_own_kubeconfig", invoking_user),
    ("developer_with_the_rights_of_the_chart", developer),
    ("manager_pod_has_no_privilege", manager_privileges),
    ("manager_restarts_and_a_new_session_works", manager_restart),
];

fn other_namespace(site: &Kube) -> Result<()> {
    let said = site.tp().connect(&["--manager-namespace", "nobody-here"])?.failure(1)?;
    ensure!(said.contains("hint:") && said.contains("tp helm install"), "{said}");
    site.tp().wait_gone()
}

fn pods_come_and_go(site: &Kube) -> Result<()> {
    site.ensure_connected()?;
    let lab = site.lab();
    lab.kubectl(&["scale", "statefulset/db", "--replicas=4"])?;
    lab.kubectl(&["rollout", "status", "statefulset/db", "--timeout=60s"])?;
    let address = lab.field("default", "pod/db-3", ".status.podIP")?;
    eventually(Duration::from_secs(20), || {
        let done = site.app().probe("resolve db-3.db.default.svc.cluster.local")?;
        ensure!(done["addresses"] == json!([address]), "{done}");
        site.app().succeed(&["curl", "-sS", "--max-time", "5", "http://db-3.db:8080"]).map(drop)
    })?;
    lab.kubectl(&["scale", "statefulset/db", "--replicas=2"])?;
    lab.kubectl(&["wait", "--for=delete", "pod/db-3", "--timeout=60s"])?;
    let done = site.app().probe(&format!("connect {address}:8080"))?;
    ensure!(done["outcome"] != "open", "a pod that is gone accepts connections: {done}");
    // a service follows its pods
    lab.kubectl(&["rollout", "restart", "deploy/echo"])?;
    lab.kubectl(&["rollout", "status", "deploy/echo", "--timeout=60s"])?;
    eventually(Duration::from_secs(20), || {
        site.app().succeed(&["curl", "-sS", "--max-time", "5", "http://echo"]).map(drop)
    })
}

fn no_endpoints(site: &Kube) -> Result<()> {
    site.ensure_connected()?;
    let _ = site.lab().kubectl(&["create", "service", "clusterip", "lonely", "--tcp=80:80"]);
    let address = site.lab().field("default", "service/lonely", ".spec.clusterIP")?;
    eventually(Duration::from_secs(20), || {
        let (app, node) = (
            site.app().probe(&format!("connect {address}:80 5"))?,
            site.node().probe(&format!("connect {address}:80 5"))?,
        );
        ensure!(app["outcome"] == node["outcome"], "{app}, on the node {node}");
        Ok(())
    })
}

/// Types beside addresses, as the cluster's own DNS has them.
fn records(site: &Kube) -> Result<()> {
    site.ensure_connected()?;
    let dig = |kind: &str, name: &str| {
        site.app().succeed(&["dig", "+short", "+time=5", "+tries=1", "-t", kind, name])
    };
    let srv = dig("SRV", "_alt._tcp.db.default.svc.cluster.local")?;
    ensure!(srv.contains("8080 db-0.db.default.svc.cluster.local."), "SRV: {srv}");
    let address = site.lab().field("default", "service/echo", ".spec.clusterIP")?;
    let reverse = site.app().succeed(&["dig", "+short", "+time=5", "+tries=1", "-x", &address])?;
    ensure!(reverse.trim() == "echo.default.svc.cluster.local.", "PTR: {reverse}");
    Ok(())
}

fn invoking_user(site: &Kube) -> Result<()> {
    site.ensure_quit()?;
    let uid = USER.to_string();
    let place = site.app().env("SUDO_UID", &uid).env("SUDO_GID", &uid).env("SUDO_USER", "developer");
    // no --kubeconfig: the user's own, by the variable
    let place = place.env("KUBECONFIG", &site.private("kubeconfig")?);
    place.run(&site.tp().words(&["connect"]))?.success()?;
    site.app().succeed(&["curl", "-sS", "--max-time", "10", "http://echo"])?;
    site.tp().run_at(&site.app().user(USER), &["quit"])?.success()?;
    site.tp().wait_gone()
}

fn developer(site: &Kube) -> Result<()> {
    site.ensure_quit()?;
    let kubeconfig = site.private("kubeconfig-developer")?;
    let uid = USER.to_string();
    let place = site.app().env("SUDO_UID", &uid).env("SUDO_GID", &uid).env("SUDO_USER", "developer");
    let connect = site.tp().words(&["connect", "--kubeconfig", &kubeconfig]);
    let said = place.run(&connect)?.failure(1)?;
    ensure!(said.contains("hint:") && said.contains("forbidden"), "without rights: {said}");
    site.tp().wait_gone()?;
    let mut words = vec!["helm", "upgrade", "--timeout", "90s"];
    words.extend(IMAGE);
    words.extend(["--set", "clientRbac.create=true", "--set", "clientRbac.subjects[0].kind=User"]);
    words.extend(["--set", "clientRbac.subjects[0].name=developer"]);
    site.administer(&words)?;
    place.run(&connect)?.success().context("with the chart's rights")?;
    site.app().succeed(&["curl", "-sS", "--max-time", "10", "http://echo"])?;
    site.ensure_quit()
}

fn manager_privileges(site: &Kube) -> Result<()> {
    let pid = site.node().succeed(&[
        "sh",
        "-c",
        "for p in /proc/[0-9]*; do [ \"$(readlink $p/exe)\" = /tp-traffic ] && echo ${p#/proc/}; done; true",
    ])?;
    let pid = pid.lines().next().context("no tp-traffic runs on the node")?;
    let status = site.node().succeed(&["cat", &format!("/proc/{pid}/status")])?;
    ensure!(status.contains("CapEff:\t0000000000000000"), "it has capabilities: {status}");
    ensure!(!status.contains("Uid:\t0"), "it runs as root: {status}");
    Ok(())
}

fn manager_restart(site: &Kube) -> Result<()> {
    site.ensure_quit()?;
    site.lab().kubectl(&["-n", "ambassador", "rollout", "restart", "deploy/traffic-manager"])?;
    site.lab().kubectl(&[
        "-n",
        "ambassador",
        "rollout",
        "status",
        "deploy/traffic-manager",
        "--timeout=90s",
    ])?;
    eventually(Duration::from_secs(30), || site.ensure_connected())?;
    site.app().succeed(&["curl", "-sS", "--max-time", "10", "http://echo"]).map(drop)
}
