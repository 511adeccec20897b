//! Loads the kernel programs and hangs them where they belong. Everything is loaded while the daemon is root;
//! what is attached later needs no capability.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use aya::programs::links::FdLink;
use aya::programs::tc::{self, NlOptions, TcAttachOptions};
use aya::programs::{
    CgroupAttachMode, CgroupSockAddr, LinkOrder, ProgramError, SchedClassifier, SkLookup, TcAttachType,
};
use aya::{Ebpf, EbpfLoader};
use tokio::io::Interest;
use tokio_util::sync::CancellationToken;
use tp_common::{Addr, settings};

use crate::dataplane::namespace::PAIR_HOST;
use crate::dataplane::sys;
use crate::dataplane::tun::TUN_NAME;

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("TP_EBPF_OBJECT"));

/// What the programs are told once, before they are verified.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub tun_if: u32,
    pub pair_if: u32,
    pub link_len: u32,
    pub dns_v4: Addr,
    pub dns_v6: Addr,
    pub netns_cookie: u64,
    /// 0 = off, 1 = errors ... 5 = trace.
    pub log_level: u8,
}

const DNS_HOOKS: [&str; 8] = [
    "dns_connect4",
    "dns_sendmsg4",
    "dns_recvmsg4",
    "dns_getpeername4",
    "dns_connect6",
    "dns_sendmsg6",
    "dns_recvmsg6",
    "dns_getpeername6",
];

/// Loads every program; nothing is attached yet.
pub fn load(settings: &Settings) -> Result<Ebpf, Box<dyn std::error::Error + Send + Sync>> {
    let mut ebpf = load_object(settings)?;
    for name in ["from_app", "from_daemon", "from_listener"] {
        program::<SchedClassifier>(&mut ebpf, name)?.load()?;
    }
    program::<SkLookup>(&mut ebpf, "pick_listener")?.load()?;
    load_hooks(&mut ebpf)?;
    Ok(ebpf)
}

/// Only the hooks, which need neither a packet program nor a private namespace.
pub(super) fn load_dns_hooks(settings: &Settings) -> Result<Ebpf, Box<dyn std::error::Error + Send + Sync>> {
    let mut ebpf = load_object(settings)?;
    load_hooks(&mut ebpf)?;
    Ok(ebpf)
}

fn load_object(settings: &Settings) -> Result<Ebpf, aya::EbpfError> {
    EbpfLoader::new()
        .override_global(settings::TUN_IF, &settings.tun_if, true)
        .override_global(settings::PAIR_IF, &settings.pair_if, true)
        .override_global(settings::LINK_LEN, &settings.link_len, true)
        .override_global(settings::DNS_V4, &settings.dns_v4, true)
        .override_global(settings::DNS_V6, &settings.dns_v6, true)
        .override_global(settings::NETNS_COOKIE, &settings.netns_cookie, true)
        .override_global(settings::LOG_LEVEL, &settings.log_level, true)
        .load(OBJECT)
}

fn load_hooks(ebpf: &mut Ebpf) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for name in DNS_HOOKS {
        program::<CgroupSockAddr>(ebpf, name)?.load()?;
    }
    Ok(())
}

/// Attaches the packet programs to the TUN and the pair, and the socket look-up to the private namespace. All of it
/// goes when the descriptors or the interfaces go.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    private: &OwnedFd,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for (name, interface, direction) in [
        ("from_app", TUN_NAME, TcAttachType::Egress),
        ("from_daemon", TUN_NAME, TcAttachType::Ingress),
        ("from_listener", PAIR_HOST, TcAttachType::Ingress),
    ] {
        attach_tc(program(ebpf, name)?, interface, direction)?;
    }
    program::<SkLookup>(ebpf, "pick_listener")?.attach(private)?;
    Ok(())
}

/// tcx (6.6 and later); before that the clsact qdisc, which goes with its interface.
fn attach_tc(
    program: &mut SchedClassifier,
    interface: &str,
    direction: TcAttachType,
) -> Result<(), ProgramError> {
    let tcx = TcAttachOptions::TcxOrder(LinkOrder::default());
    let Err(no_tcx) = program.attach_with_options(interface, direction, tcx) else { return Ok(()) };
    tracing::debug!(error = %no_tcx, interface, "no tcx here, using clsact");
    // It is there already for the second direction; if it could not be made at all, attaching says so.
    if let Err(error) = tc::qdisc_add_clsact(interface) {
        tracing::debug!(%error, interface, "adding clsact");
    }
    program
        .attach_with_options(interface, direction, TcAttachOptions::Netlink(NlOptions::default()))
        .map(drop)
}

/// The loaded DNS hooks, and their links while they are attached.
pub(super) struct DnsHooks {
    ebpf: Ebpf,
    links: Vec<FdLink>,
}

impl DnsHooks {
    pub(super) fn new(ebpf: Ebpf) -> Self {
        Self { ebpf, links: Vec::new() }
    }

    /// To every process, at the root of the cgroup2 hierarchy.
    pub(super) fn attach(&mut self) -> io::Result<()> {
        if !self.links.is_empty() {
            return Ok(());
        }
        let root = cgroup2_root()?;
        let mut links = Vec::with_capacity(DNS_HOOKS.len());
        for name in DNS_HOOKS {
            links.push(self.attach_one(name, &root).map_err(io::Error::other)?);
        }
        self.links = links;
        Ok(())
    }

    pub(super) fn detach(&mut self) {
        self.links.clear();
    }

    /// Prints the programs' debug lines through the `log` crate until stopped. The ring buffer is part of the object.
    pub(super) fn spawn_log(&mut self, stop: &CancellationToken) -> io::Result<()> {
        let mut logger = aya_log::EbpfLogger::init(&mut self.ebpf).map_err(io::Error::other)?;
        let watched = sys::watch(logger.as_fd().try_clone_to_owned()?, Interest::READABLE)?;
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok(mut ready) = watched.readable().await {
                logger.flush();
                ready.clear_ready();
            }
        }));
        Ok(())
    }

    fn attach_one(
        &mut self,
        name: &str,
        root: &File,
    ) -> Result<FdLink, Box<dyn std::error::Error + Send + Sync>> {
        let hook = program::<CgroupSockAddr>(&mut self.ebpf, name)?;
        // "Single" is what a link without flags is called; links are never exclusive.
        let id = hook.attach(root.as_fd(), CgroupAttachMode::Single)?;
        Ok(FdLink::try_from(hook.take_link(id)?)?)
    }
}

/// Where cgroup2 is mounted: alone at `/sys/fs/cgroup`, or beside version 1 at `.../unified`.
fn cgroup2_root() -> io::Result<File> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let root = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then_some(at)
    });
    let Some(root) = root else {
        return Err(io::Error::other("attaching the DNS hooks: no cgroup2 file system is mounted"));
    };
    File::open(root)
}

fn program<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> io::Result<&'a mut T>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let found = ebpf
        .program_mut(name)
        .ok_or_else(|| io::Error::other(format!("the object has no program {name}")))?;
    found.try_into().map_err(io::Error::other)
}
