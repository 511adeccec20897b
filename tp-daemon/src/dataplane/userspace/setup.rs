//! The privileged half: a TUN with the DNS server's address on it, and the DNS hooks if the kernel grants them.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::anyhow;
use aya::maps::{HashMap, MapData};
use ipnet::IpNet;
use socket2::{Domain, Socket, Type};
use tp_common::Addr;
use tp_common::dns::{DNS_PORT, DnsServer};
use tp_core::udp_flows::Limits;

use crate::dataplane::netlink::Netlink;
use crate::dataplane::programs::{self, DnsHooks, Settings};
use crate::dataplane::setup::{self, Options, TUN_HINT, step};
use crate::dataplane::userspace::segments::Segments;
use crate::dataplane::{sys, tun};
use crate::failure::Failure;

/// Set up, with nothing running yet. From here on CAP_NET_ADMIN is enough.
pub(in crate::dataplane) struct Prepared {
    pub(super) tun: OwnedFd,
    pub(in crate::dataplane) tun_index: u32,
    /// The TUN's own addresses, with their networks.
    pub(in crate::dataplane) sources: Vec<IpNet>,
    pub(super) hooks: Hooks,
    pub(super) dns: Vec<(StdUdpSocket, StdTcpListener)>,
    pub(super) udp: Limits,
    pub(in crate::dataplane) segments: Segments,
}

/// Makes the TUN. Needs CAP_NET_ADMIN and port 53 of an address of its own. Call it before there are other threads, so
/// that all of them inherit what the daemon becomes afterwards.
pub(in crate::dataplane) fn setup(options: &Options, segments: Segments) -> Result<Prepared, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(step("starting the set-up", "this is a bug; please report it"))?;
    let tun = runtime
        .block_on(setup::name_is_free())
        .and_then(|()| tun::open())
        .map_err(step("creating the TUN device tp0", TUN_HINT))?;
    if !segments.offloads {
        sys::disable_offloads(tun.as_fd()).map_err(step(
            "disabling the offloads of the TUN device tp0",
            "this is a bug; please report it",
        ))?;
    }
    let (tun_index, v6) = runtime
        .block_on(setup::configure_tun(options, segments.mtu))
        .map_err(step("configuring the TUN device tp0", "run `tp connect` as root"))?;
    let mut addresses = vec![IpAddr::from(options.dns_v4)];
    addresses.extend(v6.map(|(_, dns)| IpAddr::from(dns)));
    let dns = runtime
        .block_on(open_dns(tun_index, &addresses))
        .map_err(step("opening the DNS server's sockets", "CAP_NET_BIND_SERVICE is needed for port 53"))?;
    let mut sources = vec![IpNet::from(options.tun_v4)];
    sources.extend(v6.map(|(net, _)| IpNet::from(net)));
    let hooks = Hooks::load(options, &addresses);
    Ok(Prepared { tun, tun_index, sources, hooks, dns, udp: options.udp, segments })
}

/// In the host's own namespace, on addresses that nobody else has.
async fn open_dns(tun: u32, addresses: &[IpAddr]) -> io::Result<Vec<(StdUdpSocket, StdTcpListener)>> {
    let netlink = Netlink::open()?;
    let mut opened = Vec::new();
    for ip in addresses {
        netlink.add_address(tun, *ip, if ip.is_ipv4() { 32 } else { 128 }).await?;
        let at = SocketAddr::new(*ip, DNS_PORT);
        let tcp = bound(at, Type::STREAM)?;
        tcp.listen(BACKLOG)?;
        opened.push((bound(at, Type::DGRAM)?.into(), tcp.into()));
    }
    Ok(opened)
}

fn bound(at: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), kind.nonblocking(), None)?;
    socket.set_reuse_address(kind == Type::STREAM)?;
    if at.is_ipv6() {
        socket.set_freebind_v6(true)?; // the kernel takes a moment until it calls the new address its own
    }
    socket.bind(&at.into())?;
    Ok(socket)
}

const BACKLOG: i32 = 1024;

/// The hooks at the sockets of this machine's programs, if there are any: they need the kernel's leave, as the other
/// programs do, but nothing else that those need.
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub(super) enum Hooks {
    Loaded {
        hooks: DnsHooks,
        /// The server each socket meant.
        originals: HashMap<MapData, u64, DnsServer>,
    },
    /// And why.
    Absent(String),
}

impl Hooks {
    fn load(options: &Options, addresses: &[IpAddr]) -> Self {
        match Self::try_load(options, addresses) {
            Ok((hooks, originals)) => Self::Loaded { hooks, originals },
            Err(error) => {
                tracing::info!(error = format!("{error:#}"), "no DNS hooks");
                Self::Absent(format!("{error:#}"))
            }
        }
    }

    fn try_load(
        options: &Options,
        addresses: &[IpAddr],
    ) -> anyhow::Result<(DnsHooks, HashMap<MapData, u64, DnsServer>)> {
        let any = |v4: bool| addresses.iter().find(|ip| ip.is_ipv4() == v4).map(|ip| Addr::from(*ip));
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        let settings = Settings {
            tun_if: 0,
            pair_if: 0,
            link_len: 0,
            dns_v4: any(true).unwrap_or_default(),
            dns_v6: any(false).unwrap_or_default(),
            netns_cookie: sys::netns_cookie(socket.as_fd())?,
            log_level: options.kernel_log_level,
        };
        let mut ebpf = programs::load_dns_hooks(&settings).map_err(|error| anyhow!("{error}"))?;
        let originals = ebpf.take_map("DNS_ORIG").ok_or_else(|| anyhow!("the object has no map DNS_ORIG"))?;
        Ok((DnsHooks::new(ebpf), originals.try_into()?))
    }

    pub(super) fn attach(&mut self) -> io::Result<()> {
        match self {
            Self::Loaded { hooks, .. } => hooks.attach(),
            Self::Absent(why) => Err(io::Error::new(io::ErrorKind::Unsupported, why.clone())),
        }
    }

    pub(super) fn detach(&mut self) {
        if let Self::Loaded { hooks, .. } = self {
            hooks.detach();
        }
    }

    pub(super) fn original_server(&self, cookie: u64) -> Option<SocketAddr> {
        let Self::Loaded { originals, .. } = self else { return None };
        let server = originals.get(&cookie, 0).ok()?;
        Some(SocketAddr::new(server.addr.into(), server.port))
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("tun_index", &self.tun_index).finish_non_exhaustive()
    }
}
