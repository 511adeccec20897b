//! Routes: live, only what differs, and a conflict harms nobody else.

use std::io::ErrorKind;
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use ipnet::IpNet;
use tp_core::routes::Placed;
use tp_daemon::dataplane::{Dataplane, Reach};

use crate::far_end::ECHO;
use crate::site::{Site, V4, V6, at, echoes, eventually, sh, site};

fn set(site: &Site, networks: &[&str]) -> std::io::Result<()> {
    let networks: Vec<IpNet> = networks.iter().map(|network| network.parse().unwrap()).collect();
    site.runtime.block_on(site.dataplane.set_reach(&Reach::networks(&networks)))
}

fn routes() -> String {
    output("ip route; ip -6 route")
}

fn output(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
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

/// As for a VPN whose policy rule sends everything to a table of its own: our routes must be in there too.
#[test]
fn a_route_in_a_table_of_somebody_else_comes_and_goes_with_ours() {
    site(|site| {
        sh("ip link add vpn0 type bridge; ip link set vpn0 up; ip addr add 100.64.0.1/32 dev vpn0
            ip -6 addr add fd64::1/128 dev vpn0 nodad
            ip route add default dev vpn0 table 52; ip rule add pref 5270 lookup 52
            ip -6 route add default dev vpn0 table 52; ip -6 rule add pref 5270 lookup 52");
        let through =
            |ip: &str| TcpStream::connect_timeout(&at(ip, ECHO), Duration::from_millis(300)).is_ok();
        assert!(!through(V4) && !through(V6), "the VPN swallows them");
        let placed =
            |text: &str, tables: &[u32]| Placed { network: text.parse().unwrap(), tables: tables.to_vec() };
        let mut reach = Reach {
            routed: vec![placed("10.96.0.0/16", &[254, 52]), placed("fd96::/16", &[254, 52])],
            virtual_subnets: vec![placed("246.246.0.0/16", &[254, 52])],
            inside: Vec::new(),
        };
        site.runtime.block_on(site.dataplane.set_reach(&reach)).unwrap();
        assert!(through(V4) && through(V6) && through("246.246.0.1"));
        for dns in ["198.18.84.114", "fd74:7074::2"] {
            assert!(output(&format!("ip route get {dns}")).contains("dev tp0"), "names go to the VPN");
        }
        assert!(output("ip route show table 52").contains("default dev vpn0"), "all else is the VPN's");

        // A table that is no longer needed loses our routes, and only ours.
        reach.routed = vec![placed("10.96.0.0/16", &[254]), placed("fd96::/16", &[254, 52])];
        site.runtime.block_on(site.dataplane.set_reach(&reach)).unwrap();
        let left = output("ip route show table 52; ip -6 route show table 52");
        assert!(!left.contains("10.96") && left.contains("fd96::/16 dev tp0"), "{left}");
        assert!(output("ip route").contains("10.96.0.0/16 dev tp0"));
        assert!(!through(V4) && through(V6));

        // Its owner may empty the table: the next time we put ours in again.
        sh("ip route flush table 52; ip -6 route flush table 52");
        sh("ip route add default dev vpn0 table 52; ip -6 route add default dev vpn0 table 52");
        assert!(!through(V6));
        site.runtime.block_on(site.dataplane.set_reach(&reach)).unwrap();
        assert!(through(V6) && through("246.246.0.1"));

        sh("ip link del tp0");
        let left = output("ip route show table all; ip -6 route show table all");
        assert!(!left.contains("fd96::") && !left.contains("246.246"), "they go with the device: {left}");
    });
}

#[test]
fn an_error_names_the_network_and_the_table() {
    site(|site| {
        sh("ip route add 10.97.0.0/16 dev lo scope link table 52; ip -6 route add fd97::/16 dev lo table 52");
        let both = |network: &str| Placed { network: network.parse().unwrap(), tables: vec![254, 52] };
        let routed = vec![both("10.97.0.0/16"), both("fd97::/16"), both("10.98.0.0/16")];
        let reach = Reach { routed, ..Reach::default() };
        let error = site.runtime.block_on(site.dataplane.set_reach(&reach)).unwrap_err().to_string();
        let there = "File exists (os error 17)";
        let expected = format!(
            "adding the route for 10.97.0.0/16 to the table 52: {there}; \
             adding the route for fd97::/16 to the table 52: {there}"
        );
        assert_eq!(error, expected);
        assert!(output("ip route show table 52").contains("10.98.0.0/16 dev tp0"), "the others are in place");
        assert!(output("ip route").contains("10.97.0.0/16 dev tp0"), "and the other table");
    });
}

/// Hidden behind virtual addresses: the machine keeps its own network of that name.
#[test]
fn a_network_that_is_only_inside_is_not_routed() {
    site(|site| {
        let hidden = ["10.97.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "::1/128", "0.0.0.0/0", "224.0.0.0/4"];
        let inside = hidden.map(|network| network.parse().unwrap()).to_vec();
        let reach = Reach { inside, ..Reach::networks(&["10.96.0.0/16".parse().unwrap()]) };
        site.runtime.block_on(site.dataplane.set_reach(&reach)).unwrap();
        assert!(!output("ip route").contains("10.97"));
        let error = TcpStream::connect(at("10.97.0.1", ECHO)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        echoes(&mut TcpStream::connect(at(V4, ECHO)).unwrap(), b"undisturbed");
    });
}

/// In the private namespace the app's own address is local then: a martian, by the usual rules.
#[test]
fn an_app_whose_address_is_in_a_cluster_network_is_answered() {
    site(|_| {
        sh("ip addr add 10.96.200.1/32 dev lo; ip -6 addr add fd96::200/128 dev lo");
        for (app, ip) in [("10.96.200.1", V4), ("fd96::200", V6)] {
            let socket =
                socket2::Socket::new(socket2::Domain::for_address(at(ip, 0)), socket2::Type::STREAM, None)
                    .unwrap();
            socket.bind(&at(app, 0).into()).unwrap();
            socket.connect_timeout(&at(ip, ECHO).into(), Duration::from_secs(10)).unwrap();
            echoes(&mut TcpStream::from(socket), &vec![7; 100_000]);
            let socket = UdpSocket::bind(at(app, 0)).unwrap();
            socket.connect(at(ip, ECHO)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            crate::udp::echoes(&socket, b"datagram");
        }
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
