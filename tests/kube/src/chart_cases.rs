//! The chart: helm and `tp helm` make the same objects, and each carries on what the other began.
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests_behaviour::site::Session;

use crate::site::Kube;
use crate::suite::{Case, IMAGE, install};

pub const CASES: &[(&str, Case)] = &[
    ("chart_by_helm_gives_the_same_objects", same_objects),
    ("chart_of_tp_is_known_to_helm", known_to_helm),
    ("chart_uninstall_leaves_nothing", uninstall),
];

const KINDS: &str = "deploy,service,serviceaccount,configmap,role,rolebinding,clusterrole,clusterrolebinding";
const RELEASE: &str = "traffic-manager";

fn same_objects(site: &Kube) -> Result<()> {
    site.ensure_quit()?;
    site.administer(&["helm", "uninstall"])?;
    install(site)?;
    let ours = objects(site)?;
    site.administer(&["helm", "uninstall"])?;
    let mut words = vec!["install", RELEASE, CHART, "--wait", "--timeout", "90s"];
    words.extend(IMAGE);
    helm(site, &words)?;
    let theirs = objects(site)?;
    ensure!(ours.len() > 3, "too few objects: {:?}", ours.keys());
    for (name, object) in &theirs {
        let ours = ours.get(name).with_context(|| format!("helm makes {name}, tp does not"))?;
        ensure!(ours == object, "{name} differs:\ntp:   {ours}\nhelm: {object}");
    }
    ensure!(ours.len() == theirs.len(), "tp makes more than helm: {:?}", ours.keys());
    // and tp works with what helm installed
    site.ensure_connected()?;
    site.ensure_quit()
}

/// Continues with helm's release of the case before.
fn known_to_helm(site: &Kube) -> Result<()> {
    site.administer(&["helm", "upgrade", "--set", "logLevel=debug", "--timeout", "90s", "--reuse-values"])?;
    let list = helm(site, &["list", "-o", "json"])?;
    let list: Value = serde_json::from_str(&list)?;
    ensure!(
        list[0]["name"] == RELEASE && list[0]["revision"] == "2" && list[0]["status"] == "deployed",
        "{list}"
    );
    let values = helm(site, &["get", "values", RELEASE, "-o", "json"])?;
    let values: Value = serde_json::from_str(&values)?;
    ensure!(values["logLevel"] == "debug" && values["image"]["registry"] == "lab.local", "{values}");
    helm(site, &["rollback", RELEASE, "1", "--wait", "--timeout", "90s"]).map(drop)
}

fn uninstall(site: &Kube) -> Result<()> {
    site.administer(&["helm", "uninstall"])?;
    let left = objects(site)?;
    ensure!(left.is_empty(), "left: {:?}", left.keys());
    let releases = helm(site, &["list", "--all", "-q"])?;
    ensure!(releases.trim().is_empty(), "{releases}");
    Ok(())
}

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tp-cluster/chart");

fn helm(site: &Kube, words: &[&str]) -> Result<String> {
    let helm = site.lab().peer("bin/helm").display().to_string();
    let kubeconfig = site.workstation().dir().join("kubeconfig").display().to_string();
    let mut all = vec![helm.as_str(), "--kubeconfig", &kubeconfig, "-n", "ambassador"];
    all.extend(words);
    tests_behaviour::site::Site::app(site).succeed(&all)
}

/// Everything of the release, without what the cluster adds.
fn objects(site: &Kube) -> Result<BTreeMap<String, Value>> {
    let label = "app.kubernetes.io/managed-by=Helm";
    let text = site.lab().kubectl(&["get", KINDS, "-A", "-l", label, "-o", "json"])?;
    let list: Value = serde_json::from_str(&text)?;
    let mut found = BTreeMap::new();
    for mut object in list["items"].as_array().cloned().unwrap_or_default() {
        let name =
            format!("{} {}/{}", object["kind"], object["metadata"]["namespace"], object["metadata"]["name"]);
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
            object["metadata"].as_object_mut().map(|meta| meta.remove(field));
        }
        object["metadata"]["annotations"]
            .as_object_mut()
            .map(|notes| notes.remove("deployment.kubernetes.io/revision"));
        object.as_object_mut().map(|all| all.remove("status"));
        found.insert(name, object);
    }
    Ok(found)
}
