//! `tp doctor` with a cluster: rights, a manager that is not there, and the routes that a connect would make.
use anyhow::{Context, Result, ensure};
use tests_behaviour::lifecycle::as_before;
use tests_behaviour::lifecycle::doctor::Report;
use tests_behaviour::lifecycle::look;
use tests_behaviour::place::Place;
use tests_behaviour::site::{Session, Site};
use tests_behaviour::workstation::USER;

use crate::site::Kube;
use crate::suite::Case;

pub const CASES: &[(&str, Case)] = &[
    ("doctor_of_a_good_cluster", good),
    ("doctor_without_a_manager_tells_what_the_cluster_does", no_manager),
    ("doctor_names_the_rights_that_are_missing", rights),
    ("doctor_of_a_cluster_that_does_not_answer", unreachable),
];

const FILE: &str = "kubeconfig";

fn asked(site: &Kube, place: &Place, more: &[&str]) -> Result<Report> {
    let kubeconfig = site.private(FILE)?;
    ask(site, place, &kubeconfig, more)
}

fn ask(site: &Kube, place: &Place, kubeconfig: &str, more: &[&str]) -> Result<Report> {
    let words = [&["doctor", "--output", "json", "--kubeconfig", kubeconfig], more].concat();
    Report::read(&site.tp().run_at(place, &words)?)
}

/// Root, on behalf of a user who alone may read the kubeconfig.
fn by_sudo(site: &Kube) -> Place {
    let uid = USER.to_string();
    site.app().env("SUDO_UID", &uid).env("SUDO_GID", &uid).env("SUDO_USER", "developer")
}

fn good(site: &Kube) -> Result<()> {
    site.ensure_quit()?;
    let before = look(site)?;
    let report = asked(site, &by_sudo(site), &[])?;
    let names =
        ["dataplane", "kubeconfig", "API server", "rights", "manager's pods", "traffic-manager", "routed"];
    report.expect(0, &names.map(|name| (name, "ok")))?;
    let (_, routed, _) = report.check("routed").context("nothing would be routed")?;
    ensure!(routed.contains("10.96.0.0/16") && routed.contains("10.244."), "{routed}");
    as_before(site, &before)
}

fn no_manager(site: &Kube) -> Result<()> {
    let report = asked(site, &by_sudo(site), &["--manager-namespace", "nobody-here"])?;
    report.expect(1, &[("API server", "ok"), ("traffic-manager", "fail"), ("routed", "note")])?;
    let (_, _, hint) = report.check("traffic-manager").context("no check")?;
    ensure!(hint.contains("tp helm install -n nobody-here"), "{hint}");
    let (_, guessed, _) = report.check("routed").context("no guess")?;
    ensure!(guessed.contains("10.96.0.0/16") && guessed.contains("10.244."), "{guessed}");
    Ok(())
}

fn rights(site: &Kube) -> Result<()> {
    let place = by_sudo(site);
    let kubeconfig = site.private("kubeconfig-developer")?;
    let in_ambassador = ["--manager-namespace", "ambassador"];
    let none = ask(site, &place, &kubeconfig, &in_ambassador)?;
    none.expect(1, &[("API server", "ok"), ("traffic-manager", "fail")])?;
    let kubectl = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        site.lab().kubectl(&[&["-n", "ambassador"], &words[..]].concat())
    };
    kubectl("create role looker --verb=get,list --resource=services,pods")?;
    kubectl("create rolebinding looker --role=looker --user=developer")?;
    let some = ask(site, &place, &kubeconfig, &in_ambassador);
    kubectl("delete rolebinding looker")?;
    kubectl("delete role looker")?;
    let some = some?;
    some.expect(1, &[("rights", "fail"), ("manager's pods", "ok")])?;
    let (_, says, hint) = some.check("rights").context("no check")?;
    ensure!(says.contains("get pods/portforward") && hint.contains("clientRbac.create"), "{says} {hint}");
    Ok(())
}

fn unreachable(site: &Kube) -> Result<()> {
    let report = asked(site, &by_sudo(site), &["--server", "https://192.168.77.1:1"])?;
    report.expect(1, &[("kubeconfig", "ok"), ("API server", "fail")])
}
