//! The private network namespace: where the daemon's kernel sockets end the apps' connections.
//!
//! It belongs to one thread, which enters it once (CAP_SYS_ADMIN, while still root) and stays: everything that must
//! happen inside is sent there. Its sockets are then used from any thread. The namespace has no name and goes away
//! with the thread and the last socket, so nothing of it outlives the daemon.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use tokio::sync::{mpsc, oneshot};
use tp_common::PAIR_MAC;
use tp_core::machine::MAIN;

use crate::dataplane::netlink::{Netlink, Route, Rule, TABLE_LOCAL};
use crate::dataplane::tun::MTU;

/// The host end of the pair.
pub const PAIR_HOST: &str = "tpv";
const PAIR_PRIVATE: &str = "tpi";

/// The way to the thread inside.
#[derive(Clone)]
pub(super) struct Namespace {
    jobs: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce(Netlink) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// What the namespace offers right after its creation.
pub(super) struct Created {
    pub(super) namespace: Namespace,
    /// Handle of the namespace, for attaching programs to it.
    pub(super) handle: OwnedFd,
}

/// Creates the namespace, with a pair of interfaces whose host end lands in the caller's namespace.
pub(super) fn create() -> io::Result<Created> {
    let host: OwnedFd = File::open("/proc/thread-self/ns/net")?.into();
    let (jobs, mut queue) = mpsc::channel::<Job>(256);
    let (ready, is_ready) = oneshot::channel();
    thread::Builder::new().name("tp-private-net".to_owned()).spawn(move || {
        let runtime = match enter() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(error))),
        };
        runtime.block_on(async move {
            match furnish(host.as_fd()).await {
                Ok((netlink, handle)) => {
                    if ready.send(Ok(handle)).is_err() {
                        return; // whoever wanted it has gone
                    }
                    while let Some(job) = queue.recv().await {
                        job(netlink.clone()).await;
                    }
                    // Explicitly, so that the pair is gone when this thread is and not some time later.
                    if let Ok(Some(pair)) = netlink.index(PAIR_PRIVATE).await {
                        let _ = netlink.delete(pair).await; // the namespace takes it along anyway
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
    })?;
    let handle = is_ready.blocking_recv().map_err(|_| gone())??;
    Ok(Created { namespace: Namespace { jobs }, handle })
}

/// A job of the thread inside, and where its result comes out.
fn job<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> (Job, oneshot::Receiver<T>) {
    let (done, result) = oneshot::channel();
    let job: Job = Box::new(move |_| {
        let _ = done.send(work()); // nobody waits any more
        Box::pin(std::future::ready(()))
    });
    (job, result)
}

impl Namespace {
    /// Runs something in the thread inside, from a thread that may block. Also the way to give that thread the same
    /// capabilities as the others: they are a thread's own.
    pub(super) fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (job, result) = job(work);
        self.jobs.blocking_send(job).map_err(|_| gone())?;
        result.blocking_recv().map_err(|_| gone())
    }

    /// The same from within the runtime.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (job, result) = job(work);
        self.jobs.send(job).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())
    }

    /// Adds or removes routes inside.
    pub(super) async fn route(&self, change: Change, route: Route) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move |netlink| {
            Box::pin(async move {
                let outcome = match change {
                    Change::Add => netlink.add_route(&route).await,
                    Change::Remove => netlink.remove_route(&route).await,
                };
                let _ = done.send(outcome); // nobody waits any more
            })
        });
        self.jobs.send(job).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Add,
    Remove,
}

fn gone() -> io::Error {
    io::Error::other("the private network namespace is gone")
}

fn enter() -> io::Result<tokio::runtime::Runtime> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()
}

async fn furnish(host: std::os::fd::BorrowedFd<'_>) -> io::Result<(Netlink, OwnedFd)> {
    let netlink = Netlink::open()?;
    netlink.up(LOOPBACK).await?;
    netlink.add_pair(PAIR_PRIVATE, PAIR_HOST, host, PAIR_MAC, MTU).await?;
    for (name, value) in SYSCTLS {
        sysctl(name, value)?;
    }
    let pair = netlink.index(PAIR_PRIVATE).await?.ok_or_else(gone)?;
    netlink.up(pair).await?;
    // Any address at all: the kernel wants a source for its own ICMP.
    netlink.add_address(pair, OWN_ADDRESS.into(), 32).await?;
    for everything in ["0.0.0.0/0", "::/0"] {
        let network = everything.parse().map_err(io::Error::other)?;
        match netlink.add_route(&Route::Via { network, link: pair, source: None, table: MAIN }).await {
            Err(error) if network.addr().is_ipv6() => {
                tracing::debug!(%error, "no IPv6 in the private namespace");
            }
            result => result?,
        }
    }
    for v6 in [false, true] {
        if let Err(error) = answers_leave(&netlink, v6).await {
            tracing::debug!(%error, v6, "an app with an address of a cluster network cannot be answered");
        }
    }
    Ok((netlink, File::open("/proc/thread-self/ns/net")?.into()))
}

/// What comes in by the pair is delivered here, what goes out leaves by the pair, whatever its address: an app may
/// well have an address of a network that is local here (a container behind a bridge that the cluster's network
/// overlaps with). By the usual rules its packets were martians, and the answers to it went nowhere.
async fn answers_leave(netlink: &Netlink, v6: bool) -> io::Result<()> {
    let rule = |priority, from, table| Rule { v6, priority, from, table };
    netlink.add_rule(rule(2, None, TABLE_LOCAL)).await?;
    // "From lo" is what the kernel calls everything that its own sockets send.
    netlink.add_rule(rule(1, Some("lo"), MAIN)).await?;
    netlink.remove_rule(rule(0, None, TABLE_LOCAL)).await
}

const LOOPBACK: u32 = 1;
const OWN_ADDRESS: [u8; 4] = [169, 254, 255, 254];

/// A new namespace copies the host's IPv4 values, whatever they are.
const SYSCTLS: &[(&str, &str)] = &[
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/tpi/rp_filter", "0"),
    // The sockets take the cluster's ports, below 1024 too, when the daemon is root no longer.
    ("ipv4/ip_unprivileged_port_start", "0"),
    // A local route delivers, but bind() to one of its addresses is refused without this (IPv6 only).
    ("ipv6/ip_nonlocal_bind", "1"),
    ("ipv6/conf/tpi/accept_dad", "0"),
    ("ipv6/conf/tpi/accept_ra", "0"),
];

/// Sets a value of this thread's namespace, unless it is so already (`/proc/sys` may be read-only in a container).
fn sysctl(name: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/{name}");
    match std::fs::read_to_string(&path) {
        Ok(now) if now.trim() == value => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && name.starts_with("ipv6") => return Ok(()),
        _ => {}
    }
    std::fs::write(&path, value)
        .map_err(|error| io::Error::new(error.kind(), format!("setting {path}: {error}")))
}
