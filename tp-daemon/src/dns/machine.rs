//! The machine's own resolver configuration, read and never written.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use tp_core::dns::servers::Servers;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The servers that systemd-resolved itself asks, when resolv.conf names only resolved.
const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// Every server that this machine's programs or its systemd-resolved may ask now.
pub(crate) fn resolvers() -> Vec<IpAddr> {
    let read = Read::files(RESOLV_CONF.as_ref(), BEHIND_RESOLVED.as_ref());
    let servers = read.servers.nameservers.iter().chain(read.direct.iter()).map(SocketAddr::ip);
    servers.collect::<BTreeSet<_>>().into_iter().collect()
}

/// What the files said when they were last read.
#[derive(Debug)]
pub(super) struct Machine {
    resolv_conf: PathBuf,
    behind_resolved: PathBuf,
    read: RwLock<Read>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Read {
    servers: Arc<Servers>,
    /// For clients that ask our address itself. Never resolved: it may be resolved who asks.
    direct: Arc<[SocketAddr]>,
    stamp: [Option<Stamp>; 2],
}

impl Machine {
    pub(super) fn new() -> Self {
        Self::at(RESOLV_CONF.into(), BEHIND_RESOLVED.into())
    }

    pub(super) fn at(resolv_conf: PathBuf, behind_resolved: PathBuf) -> Self {
        let read = RwLock::new(Read::files(&resolv_conf, &behind_resolved));
        Self { resolv_conf, behind_resolved, read }
    }

    pub(super) fn servers(&self) -> Arc<Servers> {
        Arc::clone(&self.read().servers)
    }

    pub(super) fn direct(&self) -> Arc<[SocketAddr]> {
        self.read().direct
    }

    /// Reads the files again if they changed; whether they say something else now.
    pub(super) fn refresh(&self) -> bool {
        let old = self.read();
        if old.stamp == stamp(&self.resolv_conf, &self.behind_resolved) {
            return false;
        }
        let new = Read::files(&self.resolv_conf, &self.behind_resolved);
        let changed = (&new.servers, &new.direct) != (&old.servers, &old.direct);
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = new;
        changed
    }

    fn read(&self) -> Read {
        self.read.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Read {
    fn files(resolv_conf: &Path, behind_resolved: &Path) -> Self {
        let stamp = stamp(resolv_conf, behind_resolved);
        let servers = parse(resolv_conf);
        let direct = if servers.only_resolved() { parse(behind_resolved) } else { servers.clone() };
        Self { direct: direct.nameservers.into(), servers: Arc::new(servers), stamp }
    }
}

/// A missing file is an empty one, as for the C library.
fn parse(path: &Path) -> Servers {
    let text = std::fs::read(path).unwrap_or_default();
    Servers::parse(&String::from_utf8_lossy(&text), |name| nix::net::if_::if_nametoindex(name).ok())
}

/// Changes whenever the file does: written again, or another one put in its place.
type Stamp = (Option<SystemTime>, u64, u64);

fn stamp(resolv_conf: &Path, behind_resolved: &Path) -> [Option<Stamp>; 2] {
    [resolv_conf, behind_resolved].map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok(), meta.ino(), meta.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_seen_and_resolved_is_never_asked_for_itself() {
        let directory = tempfile::tempdir().unwrap();
        let (conf, behind) = (directory.path().join("resolv.conf"), directory.path().join("behind"));
        let machine = Machine::at(conf.clone(), behind.clone());
        assert!(machine.direct().is_empty() && !machine.refresh(), "no file, no server");
        std::fs::write(&conf, "nameserver 127.0.0.53\n").unwrap();
        std::fs::write(&behind, "nameserver 192.0.2.1\n").unwrap();
        assert!(machine.refresh());
        assert!(machine.servers().only_resolved());
        assert_eq!(*machine.direct(), ["192.0.2.1:53".parse().unwrap()]);
        std::fs::write(&conf, "nameserver 192.0.2.254\n").unwrap();
        assert!(machine.refresh() && !machine.refresh());
        assert_eq!(*machine.direct(), ["192.0.2.254:53".parse().unwrap()]);
    }
}
