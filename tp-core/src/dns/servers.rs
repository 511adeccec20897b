//! Which servers the machine itself asks, and by which way its programs come to ours.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

/// systemd-resolved's own servers on loopback.
const RESOLVED_STUBS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))];

/// What resolv.conf says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Servers {
    pub nameservers: Vec<SocketAddr>,
    pub search: Vec<String>,
}

/// How queries reach our server. Both may be in use at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ways {
    /// systemd-resolved sends us the names that we told it.
    pub resolved: bool,
    /// The kernel redirects port 53.
    pub hooks: bool,
}

impl Servers {
    /// `scope` turns the name of an interface into its index. Lines that are not understood are skipped, as every
    /// resolver does.
    pub fn parse(text: &str, scope: impl Fn(&str) -> Option<u32>) -> Self {
        let mut servers = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    servers.nameservers.extend(words.next().and_then(|word| nameserver(word, &scope)));
                }
                // the last of these lines counts
                Some("search" | "domain") => servers.search = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        servers
    }

    /// Programs that read resolv.conf ask systemd-resolved and nobody else.
    pub fn only_resolved(&self) -> bool {
        !self.nameservers.is_empty()
            && self.nameservers.iter().all(|server| RESOLVED_STUBS.contains(&server.ip()))
    }

    /// Whom to ask for an app that asked `asked`: that server first; if it is one of the machine's, then the
    /// machine's others, as the app's own resolver would. A C library that asks all servers from one socket (musl)
    /// makes us see the last one only, which must not be the only one that is tried.
    pub fn to_ask(&self, asked: SocketAddr) -> Vec<SocketAddr> {
        let known =
            self.nameservers.iter().position(|server| server.ip() == asked.ip() && asked.port() == 53);
        let Some(known) = known else { return vec![asked] };
        let others = self.nameservers.iter().enumerate().filter(|(at, _)| *at != known);
        std::iter::once(&self.nameservers[known]).chain(others.map(|(_, server)| server)).copied().collect()
    }
}

/// By which ways programs must come to us.
///
/// Whoever asks systemd-resolved gets there by resolved; whoever reads a resolv.conf that names another server needs
/// the hooks. `nsswitch.conf` does not matter: Go and musl do not read it, so with any other resolv.conf some
/// programs would go around resolved.
pub fn ways(resolved_runs: bool, servers: &Servers) -> Ways {
    Ways { resolved: resolved_runs, hooks: !resolved_runs || !servers.only_resolved() }
}

fn nameserver(word: &str, scope: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let (ip, zone) = word.split_once('%').unwrap_or((word, ""));
    match ip.parse().ok()? {
        IpAddr::V4(v4) => Some(SocketAddr::new(v4.into(), 53)),
        IpAddr::V6(v6) => {
            let scope = zone.parse().ok().or_else(|| scope(zone)).unwrap_or(0);
            Some(SocketAddrV6::new(v6, 53, 0, scope).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Servers {
        Servers::parse(text, |name| (name == "eth0").then_some(7))
    }

    #[test]
    fn resolv_conf_is_read_as_the_c_library_does() {
        let servers = parse(
            "# made by hand\nnameserver 10.0.0.1 # first\nnameserver fe80::1%eth0\n  nameserver ::1\n\
             nameserver nonsense\nnameserver\ndomain old.example\nsearch corp.example lab.example\noptions edns0\n",
        );
        let shown: Vec<String> = servers.nameservers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.1:53", "[fe80::1%7]:53", "[::1]:53"]);
        assert_eq!(servers.search, ["corp.example", "lab.example"]);
    }

    #[test]
    fn hooks_are_used_unless_resolv_conf_leads_to_resolved() {
        let stub = parse("nameserver 127.0.0.53");
        let foreign = parse("nameserver 127.0.0.53\nnameserver 10.0.0.1");
        let none = Servers::default();
        assert_eq!(ways(true, &stub), Ways { resolved: true, hooks: false });
        for servers in [&foreign, &none] {
            assert_eq!(ways(true, servers), Ways { resolved: true, hooks: true });
        }
        for servers in [&stub, &foreign, &none] {
            assert_eq!(ways(false, servers), Ways { resolved: false, hooks: true });
        }
    }

    #[test]
    fn the_asked_server_comes_first_and_alone_if_it_is_not_the_machines() {
        let servers = parse("nameserver 10.0.0.1\nnameserver fe80::2%eth0\nnameserver 10.0.0.3");
        let ask = |asked: &str| -> Vec<String> {
            servers.to_ask(asked.parse().unwrap()).iter().map(ToString::to_string).collect()
        };
        assert_eq!(ask("10.0.0.3:53"), ["10.0.0.3:53", "10.0.0.1:53", "[fe80::2%7]:53"]);
        assert_eq!(ask("[fe80::2]:53")[0], "[fe80::2%7]:53");
        assert_eq!(ask("8.8.8.8:53"), ["8.8.8.8:53"]);
    }
}
