//! The Kubernetes lab: started by its scripts under a name of our own, so that it stands beside any other.
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tests_behaviour::place::Place;

/// The instance's name: its namespaces are `tpe2e-node` and `tpe2e-user`.
const NAME: &str = "tpe2e";

#[derive(Debug)]
pub struct Lab {
    scripts: PathBuf,
    cache: PathBuf,
    probe: PathBuf,
}

impl Lab {
    /// A fresh cluster without workloads. `probe` is the staged `tp-probe`.
    pub fn up(probe: &Path) -> Result<Self> {
        let home = std::env::var("HOME").unwrap_or_else(|_| "/root".into());
        let caches = std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{home}/.cache"));
        let cache =
            std::env::var_os("KL").map_or_else(|| PathBuf::from(caches).join("tp/kube-lab"), PathBuf::from);
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab");
        let lab = Self { scripts, cache, probe: probe.into() };
        lab.script("down.sh", &[])?;
        lab.script("up.sh", &[])
            .context("the Kubernetes did not start\n\nhint: `cargo xtask e2e` builds it first")?;
        Ok(lab)
    }

    /// `kubectl` as the administrator.
    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        let kubectl = self.tool("kubectl").display().to_string();
        let mut all = vec![kubectl.as_str()];
        all.extend(words);
        self.laptop().succeed(&all)
    }

    /// One field of one object.
    pub fn field(&self, namespace: &str, object: &str, path: &str) -> Result<String> {
        self.kubectl(&["-n", namespace, "get", object, "-o", &format!("jsonpath={{{path}}}")])
    }

    /// The laptop's network namespace, with the machine's own files.
    fn laptop(&self) -> Place {
        let entry = vec!["nsenter".into(), format!("--net={}", self.user_netns().display()), "--".into()];
        Place::new(entry, self.probe.clone())
            .env("KUBECONFIG", &self.kubeconfig("kubeconfig").display().to_string())
    }

    /// On the node, in all of its namespaces.
    pub fn node(&self) -> Result<Place> {
        let pid = std::fs::read_to_string(self.cache.join(format!("run/{NAME}/init.pid")))?;
        let mut entry = vec!["nsenter".to_owned(), "-t".into(), pid.trim().into()];
        entry.extend(["-m", "-u", "-i", "-n", "-p", "--"].map(str::to_owned));
        Ok(Place::new(entry, self.probe.clone()))
    }

    /// A server in the node's network namespace, outside of the cluster's networks.
    pub fn on_the_node(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{NAME}-node")).arg(program);
        command
    }

    pub fn user_netns(&self) -> PathBuf {
        Path::new("/run/netns").join(format!("{NAME}-user"))
    }

    /// `kubeconfig` of the administrator, or `kubeconfig-developer`, who may do nothing by himself.
    pub fn kubeconfig(&self, file: &str) -> PathBuf {
        self.cache.join("pki").join(NAME).join(file)
    }

    pub fn tool(&self, name: &str) -> PathBuf {
        self.cache.join("bin").join(name)
    }

    /// Programs and charts of those we are compared with.
    pub fn peer(&self, path: &str) -> PathBuf {
        self.cache.join("../tools").join(path)
    }

    /// Makes an image of one static program and imports it on the node.
    pub fn image(&self, dir: &Path, reference: &str, program: &Path) -> Result<()> {
        let name = program.file_name().context("a program")?.to_string_lossy().into_owned();
        let archive = dir.join(format!("{name}.tar")).display().to_string();
        let mut make = Command::new(self.tool("mkimage"));
        make.args(["-o", &archive, "-ref", reference, "-entrypoint", &format!("/{name}")]);
        make.arg(format!("{}:/{name}:755", program.display()));
        ensure!(make.stdout(Stdio::null()).status()?.success(), "mkimage failed for {name}");
        self.script("load-image", &[&archive])
    }

    pub fn load_image(&self, archive: &Path) -> Result<()> {
        self.script("load-image", &[&archive.display().to_string()])
    }

    fn script(&self, name: &str, words: &[&str]) -> Result<()> {
        let out = Command::new(self.scripts.join(name))
            .args(words)
            .env("LAB", NAME)
            .env("DEMO", "0")
            .env("KL", &self.cache)
            .output()?;
        ensure!(out.status.success(), "{name}: {}{}", text(&out.stdout), text(&out.stderr));
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::env::var_os("TP_KEEP_LAB").is_none() {
            let _ = self.script("down.sh", &[]);
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
