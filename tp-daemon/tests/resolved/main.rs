//! Names on a machine with a real systemd-resolved: the daemon's DNS server, its dataplane and the kernel's hooks in a
//! namespace of the test's own, with D-Bus and resolved beside it.
//!
//! Needs root, and Debian's packages of resolved in the cache (fetched once with `apt-get download`); without them the
//! tests say why they do nothing.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

mod machine;
mod packages;
mod upstream;

use std::net::Ipv4Addr;

use machine::{Machine, ResolvConf};

const ECHO: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 7);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

#[test]
fn resolved_asks_us_for_the_clusters_names_and_its_own_server_for_all_others() {
    Machine::run(ResolvConf::Stub, |machine| {
        let server = machine.connect();
        assert_eq!(server.status().mode, "systemd-resolved", "{:?}", server.status());
        assert_eq!(server.status().notes, Vec::<String>::new());
        for name in ["echo", "echo.blue", "echo.default.svc", "echo.default.svc.cluster.local"] {
            assert_eq!(machine.query(name), ECHO.to_string(), "{name}");
        }
        assert_eq!(machine.query("10.96.0.7"), "echo.default.svc.cluster.local");
        assert_eq!(machine.query("www.example.com"), OUTSIDE.to_string());
        assert_eq!(machine.query("www.example.de"), OUTSIDE.to_string());
        assert!(machine.query("none.example.com").contains("not found"));
        assert!(machine.query("none.default.svc.cluster.local").contains("not found"));
        // programs that read resolv.conf come by resolved's own server
        assert_eq!(machine.dig(&["echo.default.svc.cluster.local"]), ECHO.to_string());
        assert_eq!(machine.dig(&["+tcp", "www.example.com"]), OUTSIDE.to_string());
        // who goes around resolved does not meet us
        assert_eq!(machine.dig(&["@192.0.2.53", "echo.default.svc.cluster.local"]), "");
        let heard = machine.upstream_heard();
        assert!(
            heard.iter().all(|name| name.contains("example") || name.starts_with("echo.default.svc")),
            "{heard:?}"
        );

        machine.restart_resolved();
        machine.eventually("resolved knows our names again", || machine.query("echo") == ECHO.to_string());
        assert_eq!(machine.query("www.example.com"), OUTSIDE.to_string());

        machine.stop(server);
        assert!(!machine.query("echo.default.svc.cluster.local").contains("10.96"), "as before");
        assert_eq!(machine.query("www.example.com"), OUTSIDE.to_string());
        let link = machine.resolvectl(&["status", "tp0"]);
        assert!(!link.contains("cluster.local") && !link.contains("198.18"), "{link}");
    });
}

#[test]
fn resolved_follows_the_cluster() {
    Machine::run(ResolvConf::Stub, |machine| {
        let server = machine.connect();
        let mut config = machine::config();
        config.namespaces.push("green".to_owned());
        assert!(machine.query("echo.green").contains("not found"));
        machine.update(&server, config);
        assert_eq!(machine.query("echo.green"), ECHO.to_string());
    });
}

#[test]
fn with_another_resolv_conf_both_ways_lead_to_us_and_resolveds_own_queries_are_left_alone() {
    Machine::run(ResolvConf::Foreign, |machine| {
        let server = machine.connect();
        assert_eq!(server.status().mode, "systemd-resolved and socket hooks", "{:?}", server.status());
        for name in ["echo", "echo.blue", "echo.default.svc.cluster.local"] {
            assert_eq!(machine.query(name), ECHO.to_string(), "{name}");
            assert_eq!(machine.getent(name), ECHO.to_string(), "{name}");
        }
        assert_eq!(machine.getent("www.example.com"), OUTSIDE.to_string());
        assert_eq!(machine.dig(&["@192.0.2.53", "www.example.com"]), OUTSIDE.to_string());
        // resolved sends these by the link that the server belongs to
        for name in ["a.example.com", "b.example.com", "c.example.de"] {
            assert_eq!(machine.query(name), OUTSIDE.to_string(), "{name}");
        }
        machine.stop(server);
        assert_eq!(machine.getent("www.example.com"), OUTSIDE.to_string());
        assert_eq!(machine.getent("echo.default.svc.cluster.local"), "");
    });
}

#[test]
fn without_resolved_the_hooks_alone_lead_to_us() {
    Machine::run(ResolvConf::Foreign, |machine| {
        machine.stop_resolved();
        let server = machine.connect();
        assert_eq!(server.status().mode, "socket hooks");
        assert_eq!(machine.getent("echo"), ECHO.to_string());
        assert_eq!(machine.getent("www.example.com"), OUTSIDE.to_string());
        machine.stop(server);
        assert_eq!(machine.getent("www.example.com"), OUTSIDE.to_string());
    });
}
