//! A manager without Kubernetes: its networks and names come from the command line, and since no API server stands in
//! front of it, it brings its own certificate and token.

mod identity;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use tokio::sync::watch;
use tp_core::join::{JoinUrl, Security};
use tp_core::lookup::{ResolvConf, SearchPath};

use super::bench::Offer;
use super::cluster::{Fixed, Networks};
use super::dns::{Hosts, Names, Upstream};
use super::policy::Policy;
use super::{NO_CLUSTER_ID, Place};
use crate::args::{ManagerArgs, StandaloneArgs};
use identity::Identity;

/// How clients get in.
pub(super) struct Entrance {
    pub tls: Option<tokio_rustls::TlsAcceptor>,
    pub token: Option<std::sync::Arc<str>>,
    security: Security,
}

/// TLS and a token, kept in the state directory; or neither, where that can do no harm.
fn entrance(args: &StandaloneArgs) -> Result<Entrance> {
    if args.insecure_plaintext {
        let ip = args.listen.ip();
        ensure!(
            is_private(ip),
            "--insecure-plaintext would let everybody in who reaches {ip}\n\n\
             hint: listen on a loopback or private address, e.g. --listen 127.0.0.1:7900, or leave the flag out"
        );
        return Ok(Entrance { tls: None, token: None, security: Security::Plaintext });
    }
    let identity = match &args.state_dir {
        Some(dir) => Identity::kept_in(dir)?,
        None => Identity::new()?,
    };
    let security = Security::Pinned(identity.pin());
    Ok(Entrance { tls: Some(identity.acceptor()?), token: Some(identity.token.into()), security })
}

/// All of a standalone manager that differs from one in a cluster.
pub(super) fn place(args: &ManagerArgs) -> Result<Place> {
    let alone = &args.standalone;
    let manager_ip = reachable(alone.listen.ip());
    let names = names(alone, manager_ip)?;
    let networks = networks(alone)?;
    let routed: Vec<IpNet> = alone.subnets.iter().chain(&args.client.also_proxy.0).copied().collect();
    let offer = Offer { addresses: in_served(&routed), name: own_name(alone) };
    let fixed = Fixed {
        manager_ip,
        manager_port: alone.listen.port(),
        cluster_domain: names.domain().to_owned(),
        client: args.client.clone(),
    };
    Ok(Place {
        listen: alone.listen,
        fixed,
        networks: watch::channel(Some(networks)).1,
        cluster_id: watch::channel(NO_CLUSTER_ID.to_owned()).1,
        names,
        policy: Policy::Only(routed),
        offer,
        entrance: Some(entrance(alone)?),
    })
}

fn networks(args: &StandaloneArgs) -> Result<Networks> {
    if args.subnets.is_empty() {
        bail!(
            "a standalone manager without a network serves nothing\n\n\
             hint: say which networks clients may reach, e.g. --subnet 10.20.0.0/16"
        );
    }
    Ok(Networks {
        pod_subnets: tp_core::subnets::merged(args.subnets.iter().copied()),
        node_addresses: args.node_addresses.clone(),
        ..Networks::default()
    })
}

fn names(args: &StandaloneArgs, manager_ip: IpAddr) -> Result<Names> {
    let conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let conf = ResolvConf::parse(&conf);
    let servers = if args.dns.is_empty() {
        conf.nameservers.iter().map(|ip| SocketAddr::new(*ip, 53)).collect()
    } else {
        args.dns.clone()
    };
    let hosts = Hosts::new(&args.hosts)
        .map_err(|name| anyhow::anyhow!("--host: {name:?} is no DNS name\n\nhint: --host NAME=ADDRESS"))?
        .with_own(&own_name(args), manager_ip);
    let path = SearchPath::new(&args.cluster_domain, &conf);
    Ok(Names::new(path, hosts, Upstream::new(&servers), !args.dns.is_empty()))
}

/// This manager's own name, for its clients.
fn own_name(args: &StandaloneArgs) -> String {
    format!("traffic-manager.{}", args.cluster_domain.trim_matches('.').to_ascii_lowercase())
}

/// An address of the first network that is served. One of this machine's own, if there is one; else the first, which no
/// host has. (What is dialled there for a sink does not leave this process.)
fn in_served(networks: &[IpNet]) -> Vec<IpAddr> {
    let links = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let own: Vec<IpAddr> = links.filter_map(|link| link.address.and_then(ip)).collect();
    let own_in = |net: &IpNet| own.iter().find(|ip| net.contains(*ip)).copied();
    let first = networks.iter().find_map(own_in).or_else(|| networks.first().map(IpNet::network));
    first.into_iter().collect()
}

fn ip(address: nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

impl Entrance {
    /// The one line that lets a client join.
    pub(super) fn join_url(&self, args: &StandaloneArgs, listening: SocketAddr) -> JoinUrl {
        let host = match &args.advertise {
            Some(host) => host.trim_matches(['[', ']']).to_owned(),
            None => reachable(listening.ip()).to_string(),
        };
        let token = self.token.as_deref().map(str::to_owned);
        JoinUrl { host, port: listening.port(), token, security: self.security }
    }
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entrance").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

/// Prints the URL, and writes it where asked. Both hold the token: the file is for its owner only.
pub(super) fn announce(url: &JoinUrl, args: &StandaloneArgs) -> Result<()> {
    if let Some(path) = &args.join_file {
        write_private(path, format!("{url}\n").as_bytes())
            .with_context(|| format!("cannot write the URL to join to {}", path.display()))?;
    }
    let mut stdout = std::io::stdout();
    // whoever closed stdout does not want to read it
    let _ = writeln!(stdout, "{url}").and_then(|()| stdout.flush());
    Ok(())
}

/// Writes a file that only its owner may read, in one step: nobody sees half of it.
fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(content)?;
    std::fs::rename(&next, path)
}

/// The address that others reach this machine by, if it listens on all of them: the one it would use itself.
fn reachable(listening: IpAddr) -> IpAddr {
    if !listening.is_unspecified() {
        return listening;
    }
    // connecting a UDP socket sends nothing; TEST-NET-1 stands for anywhere
    let own = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    own().map_or(Ipv4Addr::LOCALHOST.into(), |addr| addr.ip())
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            // the last is the range for tests between networks (RFC 2544)
            ip.is_loopback() || ip.is_private() || (ip.octets()[0] == 198 && ip.octets()[1] & 0xfe == 18)
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_only_where_strangers_do_not_come_by() {
        for ip in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "198.19.0.1", "::1", "fd00::1"] {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["0.0.0.0", "::", "8.8.8.8", "198.20.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn a_private_file_is_private_and_whole() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("join");
        for content in ["first", "second, longer", "3"] {
            write_private(&path, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
