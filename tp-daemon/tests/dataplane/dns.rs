//! The DNS hooks: whatever server a program of this namespace asks, our server answers, and the program believes it
//! was the one it asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tp_core::addr::AppAddr;
use tp_core::flow::Proto;
use tp_daemon::dataplane::{Dataplane, EbpfDataplane};

use crate::site::{Site, at, site};

/// A server that answers with the address it was really meant for, as the session would find out.
fn serve(site: &Site) {
    let sockets = site.runtime.block_on(async { site.dataplane.dns_sockets() }).unwrap();
    assert!(site.dataplane.dns_sockets().is_err(), "they can be taken once");
    let answer = |dataplane: &EbpfDataplane, app: SocketAddr, proto| {
        let meant = dataplane.original_server(AppAddr(app), proto);
        meant.map_or("direct".to_owned(), |server| server.to_string())
    };
    for udp in sockets.udp {
        let dataplane = site.dataplane.clone();
        site.runtime.spawn(async move {
            let mut buf = [0; 512];
            while let Ok((_, app)) = udp.recv_from(&mut buf).await {
                udp.send_to(answer(&dataplane, app, Proto::Udp).as_bytes(), app).await.unwrap();
            }
        });
    }
    for tcp in sockets.tcp {
        let dataplane = site.dataplane.clone();
        site.runtime.spawn(async move {
            while let Ok((mut stream, app)) = tcp.accept().await {
                let mut query = [0; 5];
                stream.read_exact(&mut query).await.unwrap();
                stream.write_all(answer(&dataplane, app, Proto::Tcp).as_bytes()).await.unwrap();
            }
        });
    }
}

/// Asks from another process: the daemon's own queries are left alone.
fn ask(script: &str) -> String {
    let output = Command::new("python3").arg("-c").arg(format!("import socket\n{script}")).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn connected_udp(family: &str, server: &str) -> String {
    ask(&format!(
        "s = socket.socket(socket.{family}, socket.SOCK_DGRAM); s.settimeout(5); s.connect(('{server}', 53))
s.send(b'query'); print(s.recv(99).decode(), s.getpeername()[0])"
    ))
}

fn unconnected_udp(family: &str, server: &str) -> String {
    ask(&format!(
        "s = socket.socket(socket.{family}, socket.SOCK_DGRAM); s.settimeout(5)
s.sendto(b'query', ('{server}', 53)); d, a = s.recvfrom(99); print(d.decode(), a[0], a[1])"
    ))
}

fn tcp(family: &str, server: &str) -> String {
    ask(&format!(
        "s = socket.socket(socket.{family}); s.settimeout(5); s.connect(('{server}', 53))
s.send(b'query'); print(s.recv(99).decode(), s.getpeername()[0])"
    ))
}

#[test]
fn every_way_to_ask_every_server() {
    site(|site| {
        serve(site);
        site.dataplane.attach_dns_hooks().unwrap();
        for server in ["192.0.2.53", "127.0.0.1", "127.0.0.53"] {
            assert_eq!(connected_udp("AF_INET", server), format!("{server}:53 {server}"));
            assert_eq!(unconnected_udp("AF_INET", server), format!("{server}:53 {server} 53"));
            assert_eq!(tcp("AF_INET", server), format!("{server}:53 {server}"));
            // A dual-stack socket sends through one hook and receives through the other.
            let mapped = format!("::ffff:{server}");
            assert_eq!(unconnected_udp("AF_INET6", &mapped), format!("{server}:53 {mapped} 53"));
            assert_eq!(tcp("AF_INET6", &mapped), format!("{server}:53 {mapped}"));
        }
        for server in ["2001:db8::53", "::1"] {
            assert_eq!(connected_udp("AF_INET6", server), format!("[{server}]:53 {server}"));
            assert_eq!(unconnected_udp("AF_INET6", server), format!("[{server}]:53 {server} 53"));
            assert_eq!(tcp("AF_INET6", server), format!("[{server}]:53 {server}"));
        }
        let moved = site.counters();
        assert_eq!(moved.get("dns.identified"), 1);
        assert!(moved.get("from_app.dns_crossed") > 0 && moved.get("pick_listener.dns") > 0);
        assert_eq!(moved.get("tun.arrived"), 0, "no query is ever held");
    });
}

#[test]
fn asking_us_directly_needs_no_hook() {
    site(|site| {
        serve(site);
        assert_eq!(unconnected_udp("AF_INET", "198.18.84.114"), "direct 198.18.84.114 53");
        assert_eq!(tcp("AF_INET6", "fd74:7074::2"), "direct fd74:7074::2");
    });
}

#[test]
fn the_daemons_own_queries_and_other_ports_are_left_alone() {
    site(|site| {
        serve(site);
        site.dataplane.attach_dns_hooks().unwrap();
        let own_server = UdpSocket::bind("127.0.0.1:53").unwrap();
        let own = UdpSocket::bind("127.0.0.1:0").unwrap();
        own.connect("127.0.0.1:53").unwrap();
        own.send(b"mine").unwrap();
        own_server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(own_server.recv_from(&mut [0; 9]).unwrap().1, own.local_addr().unwrap());

        let other = std::net::TcpListener::bind("127.0.0.1:5353").unwrap();
        let port = ask("s = socket.create_connection(('127.0.0.1', 5353)); print(s.getpeername()[1])");
        assert_eq!(port, "5353");
        drop(other);
    });
}

#[test]
fn another_network_namespace_is_left_alone() {
    site(|site| {
        site.dataplane.attach_dns_hooks().unwrap();
        let before = site.counters().get("dns.redirected");
        crate::site::in_namespace(|| {
            let server = UdpSocket::bind("127.0.0.1:53").unwrap();
            server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            ask(
                "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'query', ('127.0.0.1', 53))",
            );
            server.recv_from(&mut [0; 9]).unwrap();
        });
        assert_eq!(site.counters().get("dns.redirected"), before);
    });
}

#[test]
fn hooks_come_off_again() {
    site(|site| {
        serve(site);
        site.dataplane.attach_dns_hooks().unwrap();
        site.dataplane.attach_dns_hooks().unwrap();
        assert_eq!(unconnected_udp("AF_INET", "127.0.0.1"), "127.0.0.1:53 127.0.0.1 53");
        site.dataplane.detach_dns_hooks();
        let listener = std::net::TcpListener::bind("127.0.0.1:53").unwrap();
        let mut stream = TcpStream::connect(at("127.0.0.1", 53)).unwrap();
        stream.write_all(b"x").unwrap();
        listener.accept().unwrap().0.read_exact(&mut [0; 1]).unwrap();
    });
}
