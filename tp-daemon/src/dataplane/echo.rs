//! The least that a SYN's way through user space can cost, for comparison: one thread writes back each SYN that it reads,
//! another closes what comes of it. No session, no dial, no stream: nobody but a benchmark can use it.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::dataplane::namespace::Namespace;
use crate::dataplane::netlink::Netlink;
use crate::dataplane::networks::Networks;
use crate::dataplane::packet::{self, Kind};
use crate::dataplane::programs::DnsHooks;
use crate::dataplane::tun::{MAX_PACKET, VNET_HDR};
use crate::dataplane::{Prepared, Reach};

/// In milliseconds: the threads look so often whether they are still wanted.
const LOOK_EVERY: u8 = 200;

/// Runs until it is dropped.
pub struct Echo {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    // the programs and the namespace live as long
    _programs: DnsHooks,
    _namespace: Namespace,
}

impl Prepared {
    /// Admits every connect to `reach` and closes it; forgets everything else. To be called in a runtime.
    pub async fn echo(self, reach: &Reach) -> io::Result<Echo> {
        let networks =
            Networks::new(Netlink::open()?, Some(self.namespace.clone()), self.tun_index, self.sources);
        networks.set(reach, |_| ()).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = vec![thread::spawn({
            let (tun, stop) = (self.tun, Arc::clone(&stop));
            move || write_back(&tun, &stop)
        })];
        threads.extend(self.listeners.into_iter().map(|listener| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || close(&listener, &stop))
        }));
        Ok(Echo { threads, stop, _programs: self.hooks, _namespace: self.namespace })
    }
}

fn write_back(tun: &OwnedFd, stop: &AtomicBool) {
    let mut packet = vec![0; MAX_PACKET];
    while readable(tun, stop) {
        let Ok(len) = nix::unistd::read(tun, &mut packet) else { continue };
        let raw = packet.get(..len).unwrap_or_default();
        if let Kind::Syn { .. } = packet::read(raw.get(VNET_HDR..).unwrap_or_default()).kind {
            // one that is lost the app's kernel sends again, and the measurement shows it
            let _ = nix::unistd::write(tun, raw);
        }
    }
}

fn close(listener: &TcpListener, stop: &AtomicBool) {
    while readable(listener, stop) {
        drop(listener.accept());
    }
}

/// Waits; `false` when it is over.
fn readable(fd: impl AsFd, stop: &AtomicBool) -> bool {
    loop {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        if nix::poll::poll(&mut fds, PollTimeout::from(LOOK_EVERY)).is_ok_and(|ready| ready > 0) {
            return true;
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Echo")
    }
}
