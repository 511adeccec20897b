//! Our own manager without Kubernetes, and a workstation that `tp connect`s to it.
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::host::Host;
use crate::manager::Manager;
use crate::place::Place;
use crate::site::{Facts, Session, Site};
use crate::stage::Stage;
use crate::topology::{self, NODE, Topology};
use crate::tp::Tp;
use crate::workstation::Workstation;

#[derive(Debug)]
pub struct Standalone {
    // the daemon first, then the manager, then the namespaces
    tp: Tp,
    manager: Manager,
    topology: Topology,
    facts: Facts,
    pristine: Host,
    /// Of the staged programs.
    programs: PathBuf,
}

impl Standalone {
    pub fn new(stage: &Stage) -> Result<Self> {
        Self::with(stage, &[])
    }

    /// `flags` of every `tp connect`.
    pub fn with(stage: &Stage, flags: &[&str]) -> Result<Self> {
        let topology = Topology::new(stage, "standalone", false)?;
        let listen = format!("{NODE}:7900");
        let state = stage.dir("manager")?;
        let manager = Manager::start(&stage.bin("tp-traffic"), &topology.node(), &listen, &state)?;
        let mut connect = vec!["--manager".into(), manager.join().to_owned()];
        connect.extend(flags.iter().map(ToString::to_string));
        let tp = Tp::new(stage, topology.workstation().place(), connect);
        let pristine = Host::of(&topology.workstation().place(), topology.workstation().pid())?;
        let programs = stage.path().join("bin");
        Ok(Self { tp, manager, topology, facts: topology::facts(), pristine, programs })
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The URL that lets a workstation join.
    pub fn join(&self) -> &str {
        self.manager.join()
    }

    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// One of the staged programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// A directory for a case's own files.
    pub fn dir(&self) -> &Path {
        self.topology.workstation().dir()
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
