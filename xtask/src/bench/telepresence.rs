//! Telepresence 2.20, client and traffic manager, beside ours in the same Kubernetes.
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::namespace::Namespace;
use super::place::Place;
use super::proc;
use super::subjects::Subject;
use crate::{machine, sh};

pub(crate) const NAME: &str = "telepresence";
/// The process of its manager.
pub(crate) const MANAGER: &str = "traffic";
const SPACE: &str = "telepresence";

/// It does not connect without one, and proxies nothing that it can reach already: this one leads nowhere.
const DEFAULT_ROUTE: [&str; 5] = [
    "link add out0 type veth peer name out1",
    "addr add 192.0.2.2/24 dev out0",
    "link set out1 up",
    "link set out0 up",
    "route add default via 192.0.2.1",
];

/// An image archive for the node.
pub(crate) fn image() -> PathBuf {
    machine::tools().join("images/telepresence.tar")
}

fn client() -> PathBuf {
    machine::tools().join("bin/telepresence")
}

/// Builds client and manager, unless that has been done.
pub(crate) fn build(scripts: &Path) -> Result<()> {
    let mut command = Command::new(scripts.join("peers.sh"));
    sh::run(command.args(["helm", "telepresence", "client"]).stdout(Stdio::null()))
}

/// `admin` has the kubeconfig.
pub(crate) fn install(admin: &Place, scripts: &Path) -> Result<()> {
    let tool = |name: &str| machine::tools().join(name).display().to_string();
    let (helm, chart) = (tool("bin/helm"), tool("charts/telepresence"));
    let values = scripts.join("telepresence.yaml").display().to_string();
    let mut words = vec![helm.as_str(), "-n", SPACE, "install", "traffic-manager", &chart, "-f", &values];
    words.extend(["--create-namespace", "--wait", "--timeout", "90s"]);
    admin.read(&words).map(drop).context("Telepresence's manager in Kubernetes")
}

/// Connected on a workstation of its own, where its daemon ends with the namespace. It is one process: where it finds
/// itself in a container, user and root daemon are one.
pub(crate) fn connect(workstation: Namespace, kubeconfig: &Path, target: &str) -> Result<Subject> {
    let place = workstation.place().env("KUBECONFIG", kubeconfig);
    for line in DEFAULT_ROUTE {
        place.read(&format!("ip {line}").split(' ').collect::<Vec<_>>())?;
    }
    let program = client().display().to_string();
    place.read(&[program.as_str(), "connect", "--manager-namespace", SPACE, "--namespace", "default"])?;
    let (host, _) = target.split_once(':').context("HOST:PORT")?;
    // it learns the pods' networks only after a while
    let started = Instant::now();
    while !place.read(&["ip", "route", "get", host])?.contains("dev tel") {
        ensure!(started.elapsed() < Duration::from_secs(30), "no route to {host} through it");
        sleep(Duration::from_millis(100));
    }
    let is_daemon = |pid: &u32| proc::runs(*pid, &client(), &workstation.path());
    let daemon = proc::all().into_iter().find(is_daemon).context("connected, but there is no daemon")?;
    Ok(Subject::on(NAME, workstation, target).roles(&[("daemon", daemon)]))
}
