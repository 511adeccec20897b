//! The Kubernetes of the tests, started for the run: the same load to a pod by way of the API server.
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::namespace::Namespace;
use super::place::Place;
use super::proc;
use super::programs::Programs;
use super::run::Run;
use super::session::Session;
use super::subjects::{self, Site, Subject};
use super::telepresence;
use crate::{machine, sh};

pub(crate) const NAME: &str = "kube";
/// In the order of their turns.
pub(crate) const SUBJECTS: [&str; 5] = ["raw", "port-forward", telepresence::NAME, "userspace", "ebpf"];

/// The instance's name: it stands beside any other.
const LAB: &str = "tpbench";
const NODE: &str = "tpbench-node";
const API_SERVER: &str = "192.168.77.1";
const SINK_NAME: &str = "sink.default.svc.cluster.local";
const IMAGE: &str = "lab.local/tp-traffic:0.1.0";
const INSTALL: [&str; 8] = [
    "helm",
    "install",
    "--timeout",
    "90s",
    "--set",
    "image.registry=lab.local",
    "--set",
    "image.pullPolicy=Never",
];
const MANIFEST: &str = include_str!("sink.yaml");

/// Starts it, and takes it down when standard input closes.
const HOLD: &str = r#"
trap '' INT TERM HUP
"$1/down.sh" >/dev/null 2>&1
env --default-signal=INT,TERM,HUP "$1/up.sh" </dev/null >&2 && echo up && read -r _
"$1/down.sh" >/dev/null 2>&1
"#;

#[derive(Debug)]
struct Lab {
    scripts: PathBuf,
    cache: PathBuf,
    holder: Child,
    /// Closed to end it.
    alive: Option<ChildStdin>,
    /// Given up last.
    _turn: File,
}

pub(crate) fn site(
    programs: &Programs,
    dir: &Path,
    wanted: impl Fn(&str) -> bool,
    run: &mut Run,
) -> Result<Site> {
    let dir = dir.join(NAME);
    fs::create_dir_all(&dir)?;
    let lab = Lab::up()?;
    lab.image(programs, &dir)?;
    let kubeconfig = lab.kubeconfig();
    let workstation = |n: usize, name: &str| -> Result<Namespace> {
        let workstation = Namespace::new(name, &dir, API_SERVER)?;
        workstation.wire(n, NODE, "192.168.78", API_SERVER)?;
        Ok(workstation)
    };
    let admin = workstation(SUBJECTS.len(), "admin")?;
    let kubectl = lab.tool("kubectl");
    let admin_place = admin.place().env("KUBECONFIG", &kubeconfig);
    let ask = |line: &str| {
        let words: Vec<&str> = std::iter::once(kubectl.as_str()).chain(line.split(' ')).collect();
        admin_place.read(&words)
    };
    let manifest = dir.join("sink.yaml");
    fs::write(&manifest, MANIFEST)?;
    ask(&format!("apply -f {}", manifest.display()))?;
    let mut install = vec![programs.word("tp")];
    install.extend(INSTALL.map(str::to_owned));
    admin_place.read(&install).context("the manager in Kubernetes")?;
    ask("wait --for=condition=Ready pod/sink --timeout=60s")?;
    let pod = ask("get pod/sink -o jsonpath={.status.podIP}")?;
    let target = format!("{}:9000", pod.trim());
    let way = lab.processes(&["kube-apiserver", "kubelet", "containerd"])?;

    let make = |n, name| {
        if name == "raw" {
            let node = ["nsenter".into(), format!("--net=/run/netns/{NODE}"), "--".into()];
            let mut subject = Subject::new(name, Place::new(node.to_vec()), &target);
            subject.udp = true;
            return Ok(subject);
        }
        let workstation = workstation(n, name)?;
        if name == "port-forward" {
            let place = workstation.place().env("KUBECONFIG", &kubeconfig);
            let words = [kubectl.as_str(), "port-forward", "pod/sink", "9000:9000"];
            let server = place.serve(&words, "Forwarding", &dir.join("port-forward"))?.0;
            return Ok(Subject::on(name, workstation, "127.0.0.1:9000")
                .server("kubectl", server)
                .roles(&way));
        }
        if name == telepresence::NAME {
            telepresence::build(&lab.scripts)?;
            lab.load(&telepresence::image())?;
            telepresence::install(&admin_place, &lab.scripts)?;
            let subject = telepresence::connect(workstation, &kubeconfig, &target)?;
            let subject = subject.udp(SINK_NAME).roles(&way);
            return Ok(subject.roles(&lab.processes(&[telepresence::MANAGER])?));
        }
        let words = ["--kubeconfig", &kubeconfig.display().to_string(), "--dataplane", name];
        let session = Session::connect(&workstation, programs, words.map(str::to_owned).to_vec())?;
        let subject = Subject::on(name, workstation, &target).udp(SINK_NAME).session(session);
        Ok(subject.roles(&way).roles(&[("manager", lab.manager()?)]))
    };
    let subjects = subjects::wanted(NAME, &SUBJECTS, wanted, run, make);
    Ok(Site {
        name: NAME,
        subjects,
        sink: None,
        programs: programs.clone(),
        _servers: Vec::new(),
        _ground: Box::new((admin, lab)),
    })
}

impl Lab {
    fn up() -> Result<Self> {
        let scripts = machine::root().join("tests/kube/lab");
        let cache = std::env::var_os("KL").map_or_else(|| machine::cache().join("kube-lab"), PathBuf::from);
        // two runs would pull it from under each other
        let turn = File::create(cache.join(format!("{LAB}.lock")))?;
        if turn.try_lock().is_err() {
            eprintln!("{NAME}: another benchmark has the Kubernetes; waiting for it");
            turn.lock()?;
        }
        let mut command = Command::new("sh");
        command.args(["-c", HOLD, "lab"]).arg(&scripts);
        command.env("LAB", LAB).env("DEMO", "0").env("KL", &cache);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (alive, out) = (holder.stdin.take(), holder.stdout.take().context("standard output is piped")?);
        let lab = Self { scripts, cache, holder, alive, _turn: turn };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        ensure!(
            line.trim() == "up",
            "the Kubernetes did not start\n\nhint: `cargo xtask e2e` builds it first"
        );
        Ok(lab)
    }

    fn kubeconfig(&self) -> PathBuf {
        self.cache.join("pki").join(LAB).join("kubeconfig")
    }

    fn tool(&self, name: &str) -> String {
        self.cache.join("bin").join(name).display().to_string()
    }

    /// The very program that is measured elsewhere, with the libraries it needs, as an image on the node.
    fn image(&self, programs: &Programs, dir: &Path) -> Result<()> {
        let archive = dir.join("tp-traffic.tar").display().to_string();
        let mut make = Command::new(self.tool("mkimage"));
        make.args(["-o", &archive, "-ref", IMAGE, "-entrypoint", "/tp-traffic"]);
        let program = programs.word("tp-traffic");
        let listed = sh::read(Command::new("ldd").arg(&program))?;
        make.arg(format!("{program}:/tp-traffic:755"));
        make.args(libraries(&listed).map(|file| format!("{file}:{file}:755")));
        sh::read(&mut make)?;
        self.load(Path::new(&archive))
    }

    fn load(&self, archive: &Path) -> Result<()> {
        let mut load = Command::new(self.scripts.join("load-image"));
        sh::read(load.arg(archive).env("LAB", LAB).env("KL", &self.cache)).map(drop)
    }

    /// Processes of the node by these names.
    fn processes(&self, names: &[&'static str]) -> Result<Vec<(&'static str, u32)>> {
        let all = self.descendants()?;
        let find = |name: &&'static str| {
            let pid = all.iter().find(|pid| proc::name(**pid) == *name);
            pid.map(|pid| (*name, *pid)).with_context(|| format!("no process {name} on the node"))
        };
        names.iter().map(find).collect()
    }

    /// The manager of ours: its program is the sink's too.
    fn manager(&self) -> Result<u32> {
        let is_manager = |pid: &u32| {
            let line = proc::command_line(*pid);
            line.contains("tp-traffic") && line.contains(" manager")
        };
        self.descendants()?.into_iter().find(is_manager).context("no manager on the node")
    }

    fn descendants(&self) -> Result<Vec<u32>> {
        let init = fs::read_to_string(self.cache.join(format!("run/{LAB}/init.pid")))?.trim().parse()?;
        Ok(proc::all().into_iter().filter(|pid| proc::descends_from(*pid, init)).collect())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.alive.take());
        let _ = self.holder.wait();
    }
}

/// The files that `ldd` names.
fn libraries(listed: &str) -> impl Iterator<Item = &str> {
    listed.split_whitespace().filter(|word| word.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_a_program() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)\n\t/lib64/ld.so.2 (0x7f)\n";
        assert_eq!(libraries(listed).collect::<Vec<_>>(), ["/lib/x/libc.so.6", "/lib64/ld.so.2"]);
    }
}
