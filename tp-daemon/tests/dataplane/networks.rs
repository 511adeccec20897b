//! Routes: live, only what differs, and a conflict harms nobody else.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::process::Command;

use ipnet::IpNet;
use tp_daemon::dataplane::{Dataplane, Reach};

use crate::far_end::ECHO;
use crate::site::{Site, V4, V6, at, echoes, eventually, sh, site};

fn set(site: &Site, networks: &[&str]) -> std::io::Result<()> {
    let networks: Vec<IpNet> = networks.iter().map(|network| network.parse().unwrap()).collect();
    site.runtime.block_on(site.dataplane.set_reach(&Reach::networks(&networks)))
}

fn routes() -> String {
    let output = Command::new("sh").args(["-c", "ip route; ip -6 route"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn networks_come_and_go_while_connections_stand() {
    site(|site| {
        let mut stays = TcpStream::connect(at(V4, ECHO)).unwrap();
        set(site, &["10.96.0.0/16", "10.97.1.0/24", "192.0.2.7/32"]).unwrap();
        for ip in [V4, "10.97.1.255", "192.0.2.7"] {
            echoes(&mut TcpStream::connect(at(ip, ECHO)).unwrap(), b"here");
        }
        assert_eq!(TcpStream::connect(at(V6, ECHO)).unwrap_err().kind(), ErrorKind::NetworkUnreachable);
        echoes(&mut stays, b"undisturbed");
        set(site, &[]).unwrap();
        assert!(!routes().contains("10.96"), "{}", routes());
    });
}

#[test]
fn a_route_of_the_host_is_left_alone_and_named() {
    site(|site| {
        sh("ip route add 10.97.0.0/16 dev lo scope link");
        let error = set(site, &["10.97.0.0/16", "10.98.0.0/16"]).unwrap_err();
        assert!(error.to_string().contains("10.97.0.0/16"), "{error}");
        assert!(routes().contains("10.97.0.0/16 dev lo"), "{}", routes());
        echoes(&mut TcpStream::connect(at("10.98.0.1", ECHO)).unwrap(), b"the other one works");
        sh("ip route del 10.97.0.0/16");
        set(site, &["10.97.0.0/16", "10.98.0.0/16"]).unwrap();
        echoes(&mut TcpStream::connect(at("10.97.0.1", ECHO)).unwrap(), b"now this one too");
    });
}

#[test]
fn the_apps_address_is_the_tuns_unless_it_chooses() {
    site(|_| {
        for (ip, tun) in [(V4, "198.18.84.113"), (V6, "fd74:7074::1")] {
            let stream = TcpStream::connect(at(ip, ECHO)).unwrap();
            assert_eq!(stream.local_addr().unwrap().ip(), at(tun, 0).ip());
        }
        sh("ip addr add 10.1.2.3/32 dev lo");
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&at("10.1.2.3", 0).into()).unwrap();
        socket.connect(&at(V4, ECHO).into()).unwrap();
        echoes(&mut TcpStream::from(socket), b"from another address");
    });
}

#[test]
fn a_tun_that_somebody_deletes_ends_the_dataplane() {
    site(|site| {
        echoes(&mut TcpStream::connect(at(V4, ECHO)).unwrap(), b"alive");
        sh("ip link del tp0");
        eventually("the far end's loop ends", || site.events.count("shut down") == 1);
    });
}
