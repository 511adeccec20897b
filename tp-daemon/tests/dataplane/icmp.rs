//! Echo requests: a cluster address says clearly that they are not carried, the DNS address answers itself.

use std::net::IpAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::site::{V4, V6, at, site};

#[test]
fn an_echo_to_a_cluster_address_is_administratively_prohibited() {
    site(|site| {
        let before = site.counters();
        assert_eq!(ping(V4), (3, 13));
        assert_eq!(ping(V6), (1, 1));
        let moved = ["from_app.icmp_to_daemon", "from_daemon.answer_passed", "tun.echo_refused"];
        assert_eq!(site.counters().moved_since(&before), moved);
    });
}

#[test]
fn the_dns_address_answers_an_echo() {
    site(|site| {
        assert_eq!(ping("198.18.84.114"), (0, 0));
        assert_eq!(ping("fd74:7074::2"), (129, 0));
        assert_eq!(site.counters().get("tun.echo_refused"), 0);
    });
}

/// Type and code of what comes back.
fn ping(ip: &str) -> (u8, u8) {
    let to = at(ip, 0);
    let (domain, protocol, request) = match to.ip() {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, [8, 0, 0xf7, 0xfd, 0, 1, 0, 1]),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, [128, 0, 0, 0, 0, 1, 0, 1]), // the kernel fills the checksum in
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(&request, &to.into()).unwrap();
    let mut buf = [0; 1500];
    loop {
        let (len, from) = recv_from(&socket, &mut buf);
        let header = if to.is_ipv4() { 20 } else { 0 }; // a raw IPv4 socket shows it
        if from == to.ip() {
            assert!(len > header + 1);
            return (buf[header], buf[header + 1]);
        }
    }
}

/// socket2 wants an uninitialised buffer; the standard library does not mind what kind of socket it is.
fn recv_from(socket: &Socket, buf: &mut [u8]) -> (usize, IpAddr) {
    let from = std::net::UdpSocket::from(socket.try_clone().unwrap()).recv_from(buf).unwrap();
    (from.0, from.1.ip())
}
