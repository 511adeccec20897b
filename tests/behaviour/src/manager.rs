//! Our manager without Kubernetes, and stand-ins of traffic-agents that join it.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::netns::Netns;
use crate::place::Place;
use crate::process::Guard;
use crate::topology::{CLUSTER_DNS, SUBNETS};

#[derive(Debug)]
pub struct Manager {
    process: Guard,
    /// `None` for one without TLS and token.
    state: Option<PathBuf>,
    listen: String,
    join: String,
}

/// Dies when dropped, without a goodbye.
#[derive(Debug)]
pub struct Agent(#[expect(dead_code, reason = "held for its drop")] Guard);

impl Manager {
    /// Starts one on the node; the first line it prints is the URL to join. `state` keeps certificate and token.
    pub fn start(program: &Path, node: &Place, listen: &str, state: &Path) -> Result<Self> {
        let words = ["--state-dir".to_owned(), state.display().to_string()];
        let (process, join) = start(program, node, listen, &words, state)?;
        Ok(Self { process, state: Some(state.to_owned()), listen: listen.to_owned(), join })
    }

    /// One that Telepresence's own agents can join, which know neither TLS nor a token. `logs` is a directory.
    pub fn plaintext(program: &Path, node: &Place, listen: &str, logs: &Path) -> Result<Self> {
        let (process, join) = start(program, node, listen, &["--insecure-plaintext".to_owned()], logs)?;
        Ok(Self { process, state: None, listen: listen.to_owned(), join })
    }

    /// The URL that lets a workstation join.
    pub fn join(&self) -> &str {
        &self.join
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A stand-in of an agent of `workload`, in the pod that has `pod_ip`; it has arrived.
    pub fn agent(&self, probe: &Path, pod: &Netns, workload: &str, pod_ip: &str) -> Result<Agent> {
        let mut command = pod.enter();
        command.arg(probe).args(["agent", workload, "default", &format!("{workload}-1"), pod_ip]);
        match &self.state {
            Some(state) => {
                let token = fs::read_to_string(state.join("token"))?;
                command.args([format!("https://{}", self.listen), token.trim().to_owned()]);
                command.arg(state.join("certificate.pem"));
            }
            None => {
                command.arg(format!("http://{}", self.listen));
            }
        }
        // what it says of managers that a case has killed is no news
        command.stderr(Stdio::null());
        Ok(Agent(Guard::spawn_ready(command).context("the stand-in of an agent")?.0))
    }
}

fn start(
    program: &Path,
    node: &Place,
    listen: &str,
    more: &[String],
    logs: &Path,
) -> Result<(Guard, String)> {
    let program = program.display().to_string();
    let mut words = vec![program, "manager".into(), "--standalone".into(), "--listen".into(), listen.into()];
    for subnet in SUBNETS {
        words.extend(["--subnet".into(), subnet.into()]);
    }
    words.extend(["--dns".into(), CLUSTER_DNS.into()]);
    words.extend(more.iter().cloned());
    fs::create_dir_all(logs)?;
    let mut command = node.command(&words);
    command.stderr(fs::File::create(logs.join("log"))?);
    let (guard, line) = Guard::spawn_ready(command).context("the standalone manager")?;
    let is_url = |word: &&str| word.starts_with("tp://") || word.starts_with("tp+plain://");
    let join = line.split_whitespace().find(is_url).unwrap_or_default().to_owned();
    ensure!(!join.is_empty(), "the manager printed no URL to join: {line}");
    Ok((guard, join))
}
