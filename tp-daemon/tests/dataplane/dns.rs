//! The DNS hooks: whatever server a program of this namespace asks, our server answers, and the program believes it
//! was the one it asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tp_core::addr::AppAddr;
use tp_core::flow::Proto;
use tp_daemon::dataplane::{AnyDataplane, Dataplane};

use crate::site::{Site, at, site};

/// A server that answers with the address it was really meant for, as the session would find out.
pub(crate) fn serve(site: &Site) {
    let sockets = site.runtime.block_on(async { site.dataplane.dns_sockets() }).unwrap();
    assert!(site.dataplane.dns_sockets().is_err(), "they can be taken once");
    let answer = |dataplane: &AnyDataplane, app: SocketAddr, proto| {
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

/// Asks from another process, which is this program in the role of [`app`]: the daemon's own queries are left alone.
/// The answer, and the server the app believes it comes from.
pub(crate) fn ask(how: How, server: &str) -> (String, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dns::app", "--ignored", "--nocapture"])
        .env("TP_TEST_ASK", format!("{how:?} {server}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let answer =
        text.lines().find_map(|line| line.split_once("answer: ")).unwrap_or_else(|| panic!("{text}"));
    let (answer, from) = answer.1.split_once(" from ").unwrap();
    (answer.to_owned(), from.to_owned())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    ConnectedUdp,
    UnconnectedUdp,
    Tcp,
}

#[test]
#[ignore = "a role of this program, not a test"]
fn app() {
    let how = std::env::var("TP_TEST_ASK").unwrap();
    let (how, server) = how.split_once(' ').unwrap();
    let server: SocketAddr = server.parse().unwrap();
    let mut buf = [0; 99];
    let (n, from) = if how == "Tcp" {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.write_all(b"query").unwrap();
        (stream.read(&mut buf).unwrap(), stream.peer_addr().unwrap())
    } else {
        let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        if how == "ConnectedUdp" {
            socket.connect(server).unwrap();
            socket.send(b"query").unwrap();
            (socket.recv(&mut buf).unwrap(), socket.peer_addr().unwrap())
        } else {
            socket.send_to(b"query", server).unwrap();
            socket.recv_from(&mut buf).unwrap()
        }
    };
    println!("answer: {} from {from}", String::from_utf8_lossy(&buf[..n]));
}

#[test]
fn every_way_to_ask_every_server() {
    site(|site| {
        serve(site);
        site.dataplane.attach_dns_hooks().unwrap();
        for server in ["192.0.2.53:53", "127.0.0.1:53", "127.0.0.53:53", "[2001:db8::53]:53", "[::1]:53"] {
            for how in [How::ConnectedUdp, How::UnconnectedUdp, How::Tcp] {
                let expected = (server.to_owned(), server.to_owned());
                assert_eq!(ask(how, server), expected, "{how:?}");
            }
        }
        // A dual-stack socket sends through one hook and receives through the other.
        for how in [How::UnconnectedUdp, How::Tcp] {
            let expected = ("192.0.2.53:53".to_owned(), "[::ffff:192.0.2.53]:53".to_owned());
            assert_eq!(ask(how, "[::ffff:192.0.2.53]:53"), expected, "{how:?}");
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
        for server in ["198.18.84.114:53", "[fd74:7074::2]:53"] {
            for how in [How::UnconnectedUdp, How::Tcp] {
                assert_eq!(ask(how, server), ("direct".to_owned(), server.to_owned()));
            }
        }
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
        let answer = std::thread::spawn(move || {
            let (mut stream, _) = other.accept().unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
            stream.write_all(b"not ours").unwrap();
        });
        assert_eq!(ask(How::Tcp, "127.0.0.1:5353"), ("not ours".to_owned(), "127.0.0.1:5353".to_owned()));
        answer.join().unwrap();
    });
}

#[test]
fn another_network_namespace_is_left_alone() {
    site(|site| {
        site.dataplane.attach_dns_hooks().unwrap();
        let before = site.counters().get("dns.redirected");
        crate::namespace::in_namespace(|| {
            let server = UdpSocket::bind("127.0.0.1:53").unwrap();
            let answer = std::thread::spawn(move || {
                let (_, app) = server.recv_from(&mut [0; 9]).unwrap();
                server.send_to(b"not ours", app).unwrap();
            });
            assert_eq!(ask(How::UnconnectedUdp, "127.0.0.1:53").0, "not ours");
            answer.join().unwrap();
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
        assert_eq!(ask(How::UnconnectedUdp, "127.0.0.1:53").0, "127.0.0.1:53");
        site.dataplane.detach_dns_hooks();
        let listener = std::net::TcpListener::bind("127.0.0.1:53").unwrap();
        let mut stream = TcpStream::connect(at("127.0.0.1", 53)).unwrap();
        stream.write_all(b"x").unwrap();
        listener.accept().unwrap().0.read_exact(&mut [0; 1]).unwrap();
    });
}
