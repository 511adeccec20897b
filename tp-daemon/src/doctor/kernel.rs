//! The kernel's part, tried for real: a dataplane in a network namespace that goes away with this process.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::anyhow;
use ipnet::IpNet;
use nix::sched::{CloneFlags, unshare};
use rustix::thread::{CapabilitySet, capabilities};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tp_core::doctor::{Check, Stage};
use tp_core::tun_addresses::{pick_v4, pick_v6};
use tp_core::udp_flows::Limits;

use crate::dataplane::{self, AnyDataplane, AnyPrepared, Arrival, Choice, Dataplane, Reach};
use crate::failure::{Failure, OrHint};
use crate::machine;

/// What the set-up and becoming the user take.
const NEEDED: [(CapabilitySet, &str); 4] = [
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::SETPCAP, "CAP_SETPCAP"),
];

/// For documentation (RFC 5737): nobody has it, and there is nobody else in the namespace.
const SOMEWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const PORT: u16 = 7;
const SAID: &[u8] = b"hello";
const WITHIN: Duration = Duration::from_secs(10);

const BUG: &str = "this is a bug; please report it with this output";

pub(super) fn check() -> Vec<Check> {
    let missing = missing_capabilities();
    if !missing.is_empty() {
        return vec![Check::fail(
            Stage::Tp,
            "capabilities",
            format!("root has no {} here", missing.join(", ")),
            "is this a container? start it with --privileged, or with these capabilities and /dev/net/tun",
        )];
    }
    let mut checks = vec![Check::ok(Stage::Tp, "capabilities", "all that is needed")];
    checks.push(if has(CapabilitySet::SYS_ADMIN) {
        dataplane().unwrap_or_else(|failure| super::failed(Stage::Machine, NAME, failure))
    } else {
        slower("not tried: root has no CAP_SYS_ADMIN here")
    });
    checks
}

const NAME: &str = "dataplane";

/// It works without the kernel's.
fn slower(why: &str) -> Check {
    let hint = "eBPF is several times as fast; it needs Linux 5.14 or later, CAP_SYS_ADMIN and CAP_BPF";
    Check::note(Stage::Machine, NAME, format!("userspace would be used. {why}"), hint)
}

fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

fn missing_capabilities() -> Vec<&'static str> {
    NEEDED.iter().filter(|(capability, _)| !has(*capability)).map(|(_, name)| *name).collect()
}

/// Sets up what a connect would, and connects through it.
fn dataplane() -> Result<Check, Failure> {
    unshare(CloneFlags::CLONE_NEWNET).or_hint(
        "making a network namespace",
        "the kernel needs CONFIG_NET_NS; in a container, CAP_SYS_ADMIN and a seccomp profile that allows unshare",
    )?;
    let free = || Failure::new(anyhow!("no address is free in an empty namespace"), BUG);
    let v4 = pick_v4(&[]).ok_or_else(free)?;
    let options = dataplane::Options {
        tun_v4: v4.device,
        dns_v4: v4.dns,
        v6: pick_v6(&[]).map(|v6| (v6.device, v6.dns)),
        udp: Limits::default(),
        kernel_log_level: 0,
    };
    let prepared = dataplane::prepare(Choice::Auto, &options)?;
    let reason = prepared.reason().map(str::to_owned);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .or_hint("trying the dataplane", BUG)?;
    runtime.block_on(async {
        match tokio::time::timeout(WITHIN, carry(prepared)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::new(anyhow!("no byte came through within 10 s"), BUG)),
        }
    })?;
    let says = "eBPF: made in a network namespace of its own, a connection went through, thrown away";
    Ok(reason.map_or_else(|| Check::ok(Stage::Machine, NAME, says), |reason| slower(&reason)))
}

async fn carry(prepared: AnyPrepared) -> Result<(), Failure> {
    let dataplane = prepared.start().or_hint("starting the dataplane", BUG)?;
    match dataplane.attach_dns_hooks() {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        attached => attached.or_hint(
            "leading port 53 of this machine's programs to the DNS server",
            "mount cgroup2, for example: sudo mount -t cgroup2 none /sys/fs/cgroup/unified",
        )?,
    }
    dataplane.detach_dns_hooks();
    dataplane
        .set_reach(&Reach::networks(&[IpNet::from(IpAddr::from(SOMEWHERE))]))
        .await
        .or_hint("routing a network to the TUN", "`ip route` tells what the kernel refuses")?;
    let leaving = machine::leaves_by(SOMEWHERE.into()).await.or_hint("asking the kernel for a route", BUG)?;
    let link = leaving.and_then(|leaving| leaving.link);
    if !link.is_some_and(|link| dataplane.links().contains(&link)) {
        return Err(Failure::new(anyhow!("a routed network does not leave by the TUN"), BUG));
    }
    // a thread of its own: it waits for us
    let app = tokio::task::spawn_blocking(app);
    far_end(&dataplane).await.or_hint("carrying a connection", BUG)?;
    match app.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error).or_hint("connecting through the dataplane", BUG),
        Err(error) => Err(error).or_hint("connecting through the dataplane", BUG),
    }
}

fn app() -> io::Result<()> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((SOMEWHERE, PORT)), WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.write_all(SAID)?;
    let mut heard = [0; SAID.len()];
    stream.read_exact(&mut heard)?;
    if heard == SAID { Ok(()) } else { Err(io::Error::other("the bytes that came back are others")) }
}

/// Says back what it hears.
async fn far_end(dataplane: &AnyDataplane) -> io::Result<()> {
    loop {
        match dataplane.next().await {
            Some(Arrival::Tcp(held)) if held.flow().dest.ip() == SOMEWHERE => {
                let mut stream = held.admit().await?;
                let mut heard = [0; SAID.len()];
                stream.read_exact(&mut heard).await?;
                stream.write_all(&heard).await?;
                return stream.flush().await;
            }
            Some(_) => {}
            None => return Err(io::Error::other("the dataplane has shut down")),
        }
    }
}
