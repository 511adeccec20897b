//! Which dataplane serves: the kernel's where it can be had, the one in user space where it cannot.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::thread::sleep;
use std::time::Duration;

use ipnet::IpNet;
use tp_core::addr::AppAddr;
use tp_core::flow::Proto;
use tp_core::vips::Change;

use crate::dataplane::userspace::{self, Segments, UserspaceDataplane};
use crate::dataplane::{
    Arrival, Dataplane, DnsSockets, EbpfDataplane, MapDump, Options, PAIR_HOST, Prepared, Reach, setup,
};
use crate::failure::Failure;

/// What the user asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Choice {
    /// The kernel's, or else the one in user space.
    #[default]
    Auto,
    Ebpf,
    Userspace(Segments),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "auto" => Ok(Self::Auto),
            EBPF => Ok(Self::Ebpf),
            USERSPACE => Ok(Self::Userspace(Segments::LARGE)),
            USERSPACE_1500 => Ok(Self::Userspace(Segments::ETHERNET)),
            other => Err(format!("{other:?} is none of auto, ebpf, userspace")),
        }
    }
}

/// Either of them, set up as root.
#[derive(Debug)]
pub struct AnyPrepared {
    kind: PreparedKind,
    reason: Option<String>,
}

#[derive(Debug)]
enum PreparedKind {
    Ebpf(Box<Prepared>),
    Userspace(Box<userspace::Prepared>),
}

/// Either of them, moving packets.
#[derive(Clone, Debug)]
pub enum AnyDataplane {
    Ebpf(EbpfDataplane),
    Userspace(UserspaceDataplane),
}

/// Sets up what `choice` says. Needs root. Call it before there are other threads, so that all of them inherit what the
/// daemon becomes afterwards.
pub fn prepare(choice: Choice, options: &Options) -> Result<AnyPrepared, Failure> {
    let userspace = |segments, reason| {
        let prepared = userspace::setup(options, segments)?;
        Ok(AnyPrepared { kind: PreparedKind::Userspace(Box::new(prepared)), reason })
    };
    if let Choice::Userspace(segments) = choice {
        return userspace(segments, Some(asked_for(segments)));
    }
    let failure = match setup(options) {
        Ok(prepared) => {
            return Ok(AnyPrepared { kind: PreparedKind::Ebpf(Box::new(prepared)), reason: None });
        }
        Err(failure) if choice == Choice::Ebpf => return Err(failure),
        Err(failure) => failure,
    };
    wait_for_threads().map_err(|error| Failure::new(error, "this is a bug; please report it"))?;
    tracing::warn!(error = failure.message(), "no eBPF here: the dataplane in user space is used");
    userspace(Segments::LARGE, Some(format!("eBPF cannot be used here: {}", failure.message())))
}

fn asked_for(Segments { mtu, offloads }: Segments) -> String {
    let asked = "asked for with --dataplane";
    if offloads { asked.to_owned() } else { format!("{asked}, without offloads (MTU {mtu})") }
}

/// The thread of a private namespace that came to nothing ends by itself, in a moment. It would keep root's rights.
fn wait_for_threads() -> io::Result<()> {
    for _ in 0..100 {
        if std::fs::read_dir("/proc/self/task")?.count() == 1 {
            return Ok(());
        }
        sleep(Duration::from_millis(10));
    }
    // giving up root finds out whether one is left that must not be
    Ok(())
}

impl AnyPrepared {
    /// As `tp status` has it.
    pub fn name(&self) -> &'static str {
        match &self.kind {
            PreparedKind::Ebpf(_) => EBPF,
            PreparedKind::Userspace(_) => USERSPACE,
        }
    }

    /// The word that asks for it, as [`Choice`] reads it.
    pub fn word(&self) -> &'static str {
        match &self.kind {
            PreparedKind::Userspace(prepared) if !prepared.segments.offloads => USERSPACE_1500,
            _ => self.name(),
        }
    }

    /// Why it is not the kernel's.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// See [`Prepared::in_namespace_thread`].
    pub fn in_other_threads<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<()> {
        match &self.kind {
            PreparedKind::Ebpf(prepared) => prepared.in_namespace_thread(work)?.map(drop),
            PreparedKind::Userspace(_) => Ok(()),
        }
    }

    /// Interfaces that may outlive this process if it is killed.
    pub fn interfaces(&self) -> &'static [&'static str] {
        match &self.kind {
            PreparedKind::Ebpf(_) => &[PAIR_HOST],
            PreparedKind::Userspace(_) => &[],
        }
    }

    /// The TUN's own addresses.
    pub fn sources(&self) -> Vec<IpAddr> {
        match &self.kind {
            PreparedKind::Ebpf(prepared) => prepared.sources(),
            PreparedKind::Userspace(prepared) => prepared.sources.iter().map(IpNet::addr).collect(),
        }
    }

    /// Starts moving packets. Call it inside the runtime, after the privileges have been dropped.
    pub fn start(self) -> io::Result<AnyDataplane> {
        Ok(match self.kind {
            PreparedKind::Ebpf(prepared) => AnyDataplane::Ebpf(prepared.start()?),
            PreparedKind::Userspace(prepared) => AnyDataplane::Userspace(prepared.start()?),
        })
    }
}

/// As they are called on the command line and in `tp status`.
const EBPF: &str = "ebpf";
const USERSPACE: &str = "userspace";
/// For comparison: a word that nobody is told, and not a name of its own in `tp status`.
const USERSPACE_1500: &str = "userspace-1500";

/// The same call to whichever it is.
macro_rules! either {
    ($self:ident, $dataplane:ident => $call:expr) => {
        match $self {
            AnyDataplane::Ebpf($dataplane) => $call,
            AnyDataplane::Userspace($dataplane) => $call,
        }
    };
}

impl Dataplane for AnyDataplane {
    async fn next(&self) -> Option<Arrival> {
        either!(self, dataplane => dataplane.next().await)
    }

    async fn set_reach(&self, reach: &Reach) -> io::Result<()> {
        either!(self, dataplane => dataplane.set_reach(reach).await)
    }

    fn change_vips(&self, changes: &[Change]) -> io::Result<()> {
        either!(self, dataplane => dataplane.change_vips(changes))
    }

    fn set_recursion_block(&self, duration: Duration) -> io::Result<()> {
        either!(self, dataplane => dataplane.set_recursion_block(duration))
    }

    fn set_node_side(&self, interfaces: &[u32]) -> io::Result<()> {
        either!(self, dataplane => dataplane.set_node_side(interfaces))
    }

    fn links(&self) -> Vec<u32> {
        either!(self, dataplane => dataplane.links())
    }

    fn dns_sockets(&self) -> io::Result<DnsSockets> {
        either!(self, dataplane => dataplane.dns_sockets())
    }

    fn original_server(&self, app: AppAddr, proto: Proto) -> Option<SocketAddr> {
        either!(self, dataplane => dataplane.original_server(app, proto))
    }

    fn attach_dns_hooks(&self) -> io::Result<()> {
        either!(self, dataplane => dataplane.attach_dns_hooks())
    }

    fn detach_dns_hooks(&self) {
        either!(self, dataplane => dataplane.detach_dns_hooks());
    }

    fn dump(&self, map: Option<&str>) -> io::Result<Vec<MapDump>> {
        either!(self, dataplane => dataplane.dump(map))
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        either!(self, dataplane => dataplane.counters())
    }
}
