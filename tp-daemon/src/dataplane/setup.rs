//! The privileged half: everything that needs root is done here, once, before the daemon becomes the user.

use std::fmt;
use std::io;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket,
};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::anyhow;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use socket2::{Domain, Socket, Type};
use tp_common::dns::DNS_PORT;
use tp_common::{Addr, LISTENER_V4, LISTENER_V6, PAIR_MAC};
use tp_core::udp_flows::Limits;

use crate::dataplane::maps::Maps;
use crate::dataplane::namespace::{self, Change, Namespace, PAIR_HOST};
use crate::dataplane::netlink::{NO_PACING, Netlink, Route};
use crate::dataplane::programs::{self, DnsHooks, Settings};
use crate::dataplane::tun::{MTU, TUN_NAME};
use crate::dataplane::{sys, tun};
use crate::failure::Failure;

/// What the session decided about this machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address of the TUN and its subnet, e.g. 198.18.84.113/30.
    pub tun_v4: Ipv4Net,
    /// The DNS server's address, in that subnet.
    pub dns_v4: Ipv4Addr,
    /// The same for IPv6; `None` leaves IPv6 alone, as does a machine without it.
    pub v6: Option<(Ipv6Net, Ipv6Addr)>,
    pub udp: Limits,
    /// Debug lines of the kernel programs: 0 = off ... 5 = trace.
    pub kernel_log_level: u8,
}

/// Set up, with nothing running yet. From here on CAP_NET_ADMIN is enough.
pub struct Prepared {
    pub(super) tun: OwnedFd,
    pub(super) tun_index: u32,
    pub(super) pair_index: u32,
    /// The TUN's own addresses, with their networks.
    pub(super) sources: Vec<IpNet>,
    pub(super) namespace: Namespace,
    pub(super) maps: Maps,
    pub(super) hooks: DnsHooks,
    pub(super) print_kernel_log: bool,
    pub(super) listeners: Vec<StdTcpListener>,
    pub(super) dns: Vec<(StdUdpSocket, StdTcpListener)>,
    pub(super) dns_v4: Ipv4Addr,
    pub(super) udp: Limits,
}

/// Makes the TUN, the private namespace and the programs. Needs root. Call it before there are other threads, so
/// that all of them inherit what the daemon becomes afterwards.
pub fn setup(options: &Options) -> Result<Prepared, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(step("starting the set-up", "this is a bug; please report it"))?;
    runtime
        .block_on(remove_stale_pair())
        .map_err(step("removing the pair of an earlier daemon", "look at `ip link show tpv`"))?;
    let tun = runtime
        .block_on(name_is_free())
        .and_then(|()| tun::open())
        .map_err(step("creating the TUN device tp0", TUN_HINT))?;
    let (tun_index, v6) = runtime
        .block_on(configure_tun(options, MTU))
        .map_err(step("configuring the TUN device tp0", "run `tp connect` as root"))?;
    let created = std::thread::scope(|scope| scope.spawn(namespace::create).join())
        .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
        .map_err(step(
            "creating the private network namespace",
            "run `tp connect` as root, with CAP_SYS_ADMIN",
        ))?;
    let pair_if = runtime
        .block_on(raise_pair())
        .map_err(step("raising the pair to the private namespace", "look at `ip link show tpv`"))?;

    let settings = settings(options, v6, tun_index, pair_if)
        .map_err(step("asking for the network namespace's cookie", "tp needs Linux 5.14 or later"))?;
    let mut ebpf = programs::load(&settings).map_err(step(
        "loading the kernel programs",
        "tp needs Linux 5.14 or later, with CONFIG_BPF_SYSCALL",
    ))?;
    programs::attach(&mut ebpf, &created.handle)
        .map_err(step("attaching the kernel programs", "the kernel needs CONFIG_NET_CLS_ACT or tcx"))?;

    let namespace = created.namespace;
    let (listeners, dns) = open_sockets(&runtime, &namespace, options.dns_v4, v6.map(|(_, dns)| dns))
        .map_err(step("opening sockets in the private namespace", "this is a bug; please report it"))?;
    let maps = Maps::take(&mut ebpf)
        .and_then(|maps| {
            for (index, listener) in [LISTENER_V4, LISTENER_V6].iter().zip(&listeners) {
                maps.set_listener(*index, listener)?;
            }
            Ok(maps)
        })
        .map_err(step("filling the kernel programs' maps", "this is a bug; please report it"))?;
    let mut sources = vec![IpNet::from(options.tun_v4)];
    sources.extend(v6.map(|(net, _)| IpNet::from(net)));
    Ok(Prepared {
        tun,
        tun_index,
        pair_index: pair_if,
        sources,
        namespace,
        maps,
        hooks: DnsHooks::new(ebpf),
        print_kernel_log: options.kernel_log_level > 0,
        listeners,
        dns,
        dns_v4: options.dns_v4,
        udp: options.udp,
    })
}

pub(super) const TUN_HINT: &str =
    "run `tp connect` as root; is another connection up (`tp status`)? What is it (`ip -d link show tp0`)?";

impl Prepared {
    /// Runs something in the thread of the private namespace and waits for it. Capabilities belong to a thread: what
    /// drops them in this one (PR_SET_KEEPCAPS before, capset after) must run there too.
    pub fn in_namespace_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        self.namespace.run_blocking(work)
    }

    /// The TUN's own addresses.
    pub fn sources(&self) -> Vec<IpAddr> {
        self.sources.iter().map(IpNet::addr).collect()
    }

    /// As [`Dataplane::links`](crate::dataplane::Dataplane::links), before the start.
    pub fn links(&self) -> Vec<u32> {
        vec![self.tun_index, self.pair_index]
    }
}

/// A namespace lives on while a socket in it has unsent data, and with it the pair of a daemon that was killed.
/// Removing the host end removes both.
async fn remove_stale_pair() -> io::Result<()> {
    let netlink = Netlink::open()?;
    let Some(index) = netlink.index(PAIR_HOST).await? else { return Ok(()) };
    if netlink.mac(PAIR_HOST).await?.as_deref() != Some(&PAIR_MAC) {
        return Err(io::Error::other("there is an interface tpv that is not ours"));
    }
    netlink.delete(index).await
}

/// A daemon that is being killed takes its device along in a moment; another program's, which opening would take over
/// if it is persistent, stays.
pub(super) async fn name_is_free() -> io::Result<()> {
    let netlink = Netlink::open()?;
    for _ in 0..20 {
        if netlink.index(TUN_NAME).await?.is_none() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(io::Error::other("there is a device of that name already, and it is not ours"))
}

/// Gives the TUN its addresses; the IPv6 ones only if the machine has IPv6.
pub(super) async fn configure_tun(
    options: &Options,
    mtu: u32,
) -> io::Result<(u32, Option<(Ipv6Net, Ipv6Addr)>)> {
    let netlink = Netlink::open()?;
    let index = netlink.index(TUN_NAME).await?.ok_or_else(|| io::Error::other("it has vanished"))?;
    no_link_local(TUN_NAME);
    netlink.set_mtu(index, mtu).await?;
    netlink.add_address(index, options.tun_v4.addr().into(), options.tun_v4.prefix_len()).await?;
    let mut v6 = options.v6;
    if let Some((net, _)) = v6
        && let Err(error) = netlink.add_address(index, net.addr().into(), net.prefix_len()).await
    {
        tracing::debug!(%error, "no IPv6 on this machine");
        v6 = None;
    }
    netlink.up(index).await?;
    Ok((index, v6))
}

async fn raise_pair() -> io::Result<u32> {
    let netlink = Netlink::open()?;
    let index = netlink.index(PAIR_HOST).await?.ok_or_else(|| io::Error::other("it has vanished"))?;
    no_link_local(PAIR_HOST);
    netlink.up(index).await?;
    Ok(index)
}

/// Our interfaces need no link-local address, and the host need not see one.
fn no_link_local(interface: &str) {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/addr_gen_mode");
    if let Err(error) = std::fs::write(&path, "1") {
        tracing::debug!(%error, path, "the interface may get a link-local address");
    }
}

fn settings(
    options: &Options,
    v6: Option<(Ipv6Net, Ipv6Addr)>,
    tun_if: u32,
    pair_if: u32,
) -> io::Result<Settings> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    Ok(Settings {
        tun_if,
        pair_if,
        link_len: 0,
        dns_v4: Addr::from(IpAddr::from(options.dns_v4)),
        dns_v6: v6.map(|(_, dns)| Addr::from(IpAddr::from(dns))).unwrap_or_default(),
        netns_cookie: sys::netns_cookie(socket.as_fd())?,
        log_level: options.kernel_log_level,
    })
}

type Opened = (Vec<StdTcpListener>, Vec<(StdUdpSocket, StdTcpListener)>);

/// The listeners every SYN comes to, and the DNS server's sockets.
fn open_sockets(
    runtime: &tokio::runtime::Runtime,
    namespace: &Namespace,
    dns_v4: Ipv4Addr,
    dns_v6: Option<Ipv6Addr>,
) -> io::Result<Opened> {
    let dns: Vec<IpAddr> = std::iter::once(IpAddr::from(dns_v4)).chain(dns_v6.map(IpAddr::from)).collect();
    for address in &dns {
        let route = Route::Here { network: IpNet::from(*address) };
        runtime.block_on(namespace.route(Change::Add, route))?;
    }
    runtime.block_on(namespace.run(move || -> io::Result<Opened> {
        let mut listeners = vec![listener((Ipv4Addr::LOCALHOST, 0).into())?];
        match listener((Ipv6Addr::LOCALHOST, 0).into()) {
            Ok(v6) => listeners.push(v6),
            Err(error) => tracing::debug!(%error, "no IPv6 in the private namespace"),
        }
        let mut sockets = Vec::new();
        for address in dns {
            let at = SocketAddr::new(address, DNS_PORT);
            let udp = StdUdpSocket::bind(at)?;
            udp.set_nonblocking(true)?;
            sockets.push((udp, listener(at)?));
        }
        Ok((listeners, sockets))
    }))?
}

/// As long a queue as the kernel allows (it caps the number at net.core.somaxconn).
const BACKLOG: i32 = 65_535;

fn listener(at: SocketAddr) -> io::Result<StdTcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_congestion(NO_PACING.as_bytes())?; // connections inherit it
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

pub(super) fn step<E: fmt::Display>(doing: &'static str, hint: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::new(anyhow!("{error}").context(doing), hint)
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("tun_index", &self.tun_index).finish_non_exhaustive()
    }
}
