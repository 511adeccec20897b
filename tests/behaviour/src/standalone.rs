//! Our own manager without Kubernetes, and a workstation that `tp connect`s to it.
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::host::Host;
use crate::place::Place;
use crate::process::Guard;
use crate::site::{Facts, Session, Site};
use crate::stage::Stage;
use crate::topology::{self, CLUSTER_DNS, NODE, SUBNETS, Topology};
use crate::tp::Tp;
use crate::workstation::Workstation;

#[derive(Debug)]
pub struct Standalone {
    // the daemon first, then the manager, then the namespaces
    tp: Tp,
    _manager: Guard,
    topology: Topology,
    facts: Facts,
    join: String,
    pristine: Host,
}

impl Standalone {
    pub fn new(stage: &Stage) -> Result<Self> {
        let topology = Topology::new(stage, "standalone", false)?;
        let (manager, join) = manager(stage, &topology.node())?;
        let connect = vec!["--manager".into(), join.clone()];
        let tp = Tp::new(stage, topology.workstation().place(), connect);
        let pristine = Host::of(&topology.workstation().place(), topology.workstation().pid())?;
        Ok(Self { tp, _manager: manager, topology, facts: topology::facts(), join, pristine })
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The URL that lets a workstation join.
    pub fn join(&self) -> &str {
        &self.join
    }
}

impl Site for Standalone {
    fn app(&self) -> Place {
        self.topology.workstation().place()
    }

    fn node(&self) -> Place {
        self.topology.node()
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl Session for Standalone {
    fn tp(&self) -> &Tp {
        &self.tp
    }

    fn workstation(&self) -> &Workstation {
        self.topology.workstation()
    }

    fn pristine(&self) -> &Host {
        &self.pristine
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        let _ = self.tp.force_quit();
    }
}

/// Starts a manager on the node; the first line it prints is the URL to join.
fn manager(stage: &Stage, node: &Place) -> Result<(Guard, String)> {
    let state = stage.dir("manager")?;
    let program = stage.bin("tp-traffic").display().to_string();
    let listen = format!("{NODE}:7900");
    let mut words = vec![program, "manager".into(), "--standalone".into(), "--listen".into(), listen];
    for subnet in SUBNETS {
        words.extend(["--subnet".into(), subnet.into()]);
    }
    words.extend(["--dns".into(), CLUSTER_DNS.into()]);
    words.extend(["--state-dir".into(), state.display().to_string()]);
    let mut command = node.command(&words);
    command.stderr(fs::File::create(state.join("log"))?);
    let (guard, line) = Guard::spawn_ready(command).context("the standalone manager")?;
    let join = line.split_whitespace().find(|word| word.starts_with("tp://")).unwrap_or_default().to_owned();
    ensure!(!join.is_empty(), "the manager printed no URL to join: {line}");
    Ok((guard, join))
}
