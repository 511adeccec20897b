//! systemd-resolved: told over D-Bus which names to send to our server, for the TUN only and only while it exists.
//!
//! No file of the machine changes, and resolved forgets all of it with the link.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::Mutex;
use tp_core::dns::Name;
use tp_core::dns::resolved::LinkDomain;
use zbus::fdo::{DBusProxy, NameOwnerChangedStream};

pub(super) const SERVICE: &str = "org.freedesktop.resolve1";
const BUS_SOCKETS: [&str; 2] = ["/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket"];
/// resolved and the bus answer within milliseconds, or are busy starting.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
const ROOT: u32 = 0;
/// Protocols on a link of ours are off: there is nobody to ask but our server.
const OFF: &str = "no";

#[zbus::proxy(
    interface = "org.freedesktop.resolve1.Manager",
    default_service = "org.freedesktop.resolve1",
    default_path = "/org/freedesktop/resolve1",
    gen_blocking = false
)]
trait Manager {
    #[zbus(name = "SetLinkDNS", no_autostart)]
    fn set_link_dns(&self, link: i32, addresses: &[(i32, Vec<u8>)]) -> zbus::Result<()>;
    #[zbus(no_autostart)]
    fn set_link_domains(&self, link: i32, domains: &[(&str, bool)]) -> zbus::Result<()>;
    #[zbus(no_autostart)]
    fn set_link_default_route(&self, link: i32, on: bool) -> zbus::Result<()>;
    #[zbus(name = "SetLinkLLMNR", no_autostart)]
    fn set_link_llmnr(&self, link: i32, mode: &str) -> zbus::Result<()>;
    #[zbus(name = "SetLinkMulticastDNS", no_autostart)]
    fn set_link_multicast_dns(&self, link: i32, mode: &str) -> zbus::Result<()>;
    #[zbus(name = "SetLinkDNSOverTLS", no_autostart)]
    fn set_link_dns_over_tls(&self, link: i32, mode: &str) -> zbus::Result<()>;
    #[zbus(name = "SetLinkDNSSEC", no_autostart)]
    fn set_link_dnssec(&self, link: i32, mode: &str) -> zbus::Result<()>;
    #[zbus(no_autostart)]
    fn revert_link(&self, link: i32) -> zbus::Result<()>;
    #[zbus(no_autostart)]
    fn flush_caches(&self) -> zbus::Result<()>;
    #[zbus(no_autostart)]
    fn resolve_hostname(&self, link: i32, name: &str, family: i32, flags: u64) -> zbus::Result<Resolution>;
}

/// Addresses (link, family, bytes), the canonical name, flags.
type Resolution = (Vec<(i32, i32, Vec<u8>)>, String, u64);

/// A connection to the system bus, made as root.
#[derive(Debug, Default)]
pub(super) enum Bus {
    #[default]
    None,
    /// Connected; who we are is not yet told.
    Stream(UnixStream),
    Connected(zbus::Connection),
}

impl Bus {
    /// The bus sees who connects, so this must happen while we are root.
    pub(super) fn connect() -> Self {
        let configured = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok();
        let configured = configured.as_deref().and_then(unix_path);
        for path in configured.into_iter().chain(BUS_SOCKETS) {
            match UnixStream::connect(path).and_then(|stream| {
                stream.set_nonblocking(true)?;
                Ok(stream)
            }) {
                Ok(stream) => return Self::Stream(stream),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(path, %error, "connecting to the system bus"),
            }
        }
        Self::None
    }

    pub(super) async fn authenticate(&mut self) {
        if let Self::Stream(stream) = std::mem::take(self) {
            match authenticate(stream).await {
                Ok(connection) => *self = Self::Connected(connection),
                Err(error) => tracing::warn!(%error, "the system bus does not accept us"),
            }
        }
    }
}

async fn authenticate(stream: UnixStream) -> zbus::Result<zbus::Connection> {
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let builder = zbus::connection::Builder::unix_stream(stream).user_id(ROOT).method_timeout(CALL_TIMEOUT);
    builder.build().await
}

/// `unix:path=/run/dbus/system_bus_socket,guid=..`
fn unix_path(address: &str) -> Option<&str> {
    let options = address.strip_prefix("unix:")?;
    options.split(',').find_map(|option| option.strip_prefix("path="))
}

/// systemd-resolved, running or not.
pub(super) struct Resolved {
    manager: ManagerProxy<'static>,
    bus: DBusProxy<'static>,
    owners: Mutex<NameOwnerChangedStream>,
}

impl Resolved {
    pub(super) async fn new(mut bus: Bus) -> Option<Self> {
        bus.authenticate().await;
        let Bus::Connected(connection) = bus else { return None };
        match Self::on(&connection).await {
            Ok(resolved) => Some(resolved),
            Err(error) => {
                tracing::warn!(%error, "the system bus does not answer");
                None
            }
        }
    }

    async fn on(connection: &zbus::Connection) -> zbus::Result<Self> {
        let bus = DBusProxy::new(connection).await?;
        let owners = Mutex::new(bus.receive_name_owner_changed_with_args(&[(0, SERVICE)]).await?);
        Ok(Self { manager: ManagerProxy::new(connection).await?, bus, owners })
    }

    /// Asks without starting it.
    pub(super) async fn runs(&self) -> bool {
        match zbus::names::BusName::try_from(SERVICE) {
            Ok(name) => self.bus.name_has_owner(name).await.unwrap_or(false),
            Err(_) => false,
        }
    }

    /// Waits until it starts, stops or restarts.
    pub(super) async fn changed(&self) {
        if self.owners.lock().await.next().await.is_none() {
            // the bus is gone, and with it every way to notice a change
            std::future::pending::<()>().await;
        }
    }

    /// Names under these domains come to these addresses from now on.
    pub(super) async fn apply(&self, link: u32, to: &[IpAddr], domains: &[LinkDomain]) -> zbus::Result<()> {
        let link = link.cast_signed();
        let to: Vec<(i32, Vec<u8>)> = to.iter().map(dbus_address).collect();
        let domains: Vec<(&str, bool)> =
            domains.iter().map(|domain| (domain.name.as_str(), domain.route_only)).collect();
        let manager = &self.manager;
        // Without this, every name of the machine would come to us for the moment until the domains are set.
        optional("SetLinkDefaultRoute", manager.set_link_default_route(link, false).await)?;
        manager.set_link_domains(link, &domains).await?;
        optional("SetLinkLLMNR", manager.set_link_llmnr(link, OFF).await)?;
        optional("SetLinkMulticastDNS", manager.set_link_multicast_dns(link, OFF).await)?;
        optional("SetLinkDNSOverTLS", manager.set_link_dns_over_tls(link, OFF).await)?;
        optional("SetLinkDNSSEC", manager.set_link_dnssec(link, OFF).await)?;
        manager.set_link_dns(link, &to).await?;
        // It may remember that a name of the cluster did not exist.
        optional("FlushCaches", manager.flush_caches().await)
    }

    pub(super) async fn revert(&self, link: u32) -> zbus::Result<()> {
        self.manager.revert_link(link.cast_signed()).await?;
        optional("FlushCaches", self.manager.flush_caches().await)
    }

    /// Whether it really sends that name to us.
    pub(super) async fn resolves(&self, name: &Name) -> zbus::Result<bool> {
        let (addresses, _, _) = self.manager.resolve_hostname(0, name.as_str(), libc::AF_INET, 0).await?;
        Ok(!addresses.is_empty())
    }
}

/// Older versions of resolved do not know every method.
fn optional(method: &str, result: zbus::Result<()>) -> zbus::Result<()> {
    match result {
        Err(zbus::Error::MethodError(name, ..)) if name.as_str().ends_with(".UnknownMethod") => {
            tracing::debug!(method, "this systemd-resolved does not know a method");
            Ok(())
        }
        other => other,
    }
}

fn dbus_address(ip: &IpAddr) -> (i32, Vec<u8>) {
    let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    (family, tp_core::addr::ip_to_bytes(*ip))
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolved")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bus_is_where_the_environment_says() {
        assert_eq!(unix_path("unix:path=/tmp/bus,guid=0123"), Some("/tmp/bus"));
        assert_eq!(unix_path("unix:guid=0123,path=/tmp/bus"), Some("/tmp/bus"));
        assert_eq!(unix_path("tcp:host=example,port=1"), None);
    }
}
