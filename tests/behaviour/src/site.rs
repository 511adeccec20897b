//! What a case needs to know of the place it runs at.
use std::fmt::Debug;

use anyhow::Result;

use crate::host::Host;
use crate::place::Place;
use crate::tp::{GONE_WITHIN, Tp};
use crate::workstation::Workstation;

/// A workstation joined to a cluster, in whatever way.
pub trait Site: Debug {
    /// Where apps run.
    fn app(&self) -> Place;
    /// On the node itself: what a program sees there is what it should see on the workstation.
    fn node(&self) -> Place;
    fn facts(&self) -> &Facts;
}

/// A site whose workstation is joined by `tp connect`.
pub trait Session: Site {
    fn tp(&self) -> &Tp;
    fn workstation(&self) -> &Workstation;

    fn ensure_connected(&self) -> Result<()> {
        if self.tp().daemon().is_err() {
            self.tp().connect(&[])?.success()?;
        }
        Ok(())
    }

    /// The workstation before anything of tp ran on it.
    fn pristine(&self) -> &Host;

    /// Whatever state a case left: nothing of tp is on the workstation.
    fn ensure_quit(&self) -> Result<()> {
        self.tp().force_quit()?;
        self.pristine().again(GONE_WITHIN, || Host::of(&self.app(), self.workstation().pid()))
    }
}

/// Addresses and names of a site. Every server is `tp-probe serve NAME`.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Addresses of a server; IPv6 in brackets.
    pub servers: Vec<String>,
    /// Addresses of hosts, not services: port 9 is closed there.
    pub hosts: Vec<String>,
    /// Addresses in the cluster's networks where nobody is.
    pub absent: Vec<String>,
    /// Connecting to these takes longer than anybody waits.
    pub silent: Vec<String>,
    /// URLs by name, and the NAME of the server that answers.
    pub urls: Vec<(String, String)>,
    /// Names in the cluster and all their addresses, sorted.
    pub names: Vec<(String, Vec<String>)>,
    /// Names of the world outside and their addresses, as known without any cluster.
    pub outside: Vec<(String, Vec<String>)>,
    /// The machine's own name server.
    pub name_server: Option<String>,
    /// A URL outside of the cluster, by name.
    pub outside_url: Option<String>,
    /// The far end is a Telepresence manager: it cannot say why a dial failed, closes both directions at once, and drops
    /// empty datagrams.
    pub telepresence: bool,
    /// Short names come from the search list, which musl uses only for names without a dot.
    pub by_search_list: bool,
    /// Bytes of the large transfers.
    pub large: u64,
}
