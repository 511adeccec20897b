//! Virtual addresses: the app sees the VIP, the far end the cluster address. Their checksums: `test_run` and `wire`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use ipnet::IpNet;
use tp_core::vips::Change;
use tp_daemon::dataplane::{Dataplane, Reach, Rows};

use crate::far_end::{CLOSED, COUNT, ECHO};
use crate::site::{NETWORKS, Site, V4, V6, at, echoes, eventually, site};
use crate::udp;

const POOLS: [&str; 2] = ["246.246.0.0/16", "fd74:7076::/64"];
pub(crate) const VIP_V4: &str = "246.246.0.1";
pub(crate) const VIP_V6: &str = "fd74:7076::1";
/// Not routed: reachable by its VIP only.
const HIDDEN_NETWORKS: [&str; 2] = ["10.97.0.0/24", "fd97::/64"];
const HIDDEN: &str = "10.97.0.9";
const HIDDEN_V6: &str = "fd97::9";
pub(crate) const VIP_OF_HIDDEN: &str = "246.246.0.9";
pub(crate) const VIP_OF_HIDDEN_V6: &str = "fd74:7076::9";

fn with_vips(test: impl FnOnce(&Site) + Send + 'static) {
    site(|site| {
        set_usual_vips(site);
        test(site);
    });
}

pub(crate) fn set_usual_vips(site: &Site) {
    site.runtime.block_on(site.dataplane.set_reach(&reach())).unwrap();
    let hidden = [add(VIP_OF_HIDDEN, HIDDEN), add(VIP_OF_HIDDEN_V6, HIDDEN_V6)];
    let vips = [&[add(VIP_V4, V4), add(VIP_V6, V6)][..], &hidden].concat();
    site.dataplane.change_vips(&vips).unwrap();
}

/// The pools and the hidden network, beside the networks that every site has.
pub(crate) fn reach() -> Reach {
    let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect::<Vec<IpNet>>();
    let placed = |texts: &[&str]| Reach::networks(&nets(texts)).routed;
    Reach { routed: placed(&NETWORKS), virtual_subnets: placed(&POOLS), inside: nets(&HIDDEN_NETWORKS) }
}

pub(crate) fn add(vip: &str, inside: &str) -> Change {
    Change::Add { vip: vip.parse().unwrap(), inside: inside.parse().unwrap() }
}

#[test]
fn tcp_through_a_vip_both_ways() {
    with_vips(|site| {
        for (vip, cluster) in
            [(VIP_V4, V4), (VIP_V6, V6), (VIP_OF_HIDDEN, HIDDEN), (VIP_OF_HIDDEN_V6, HIDDEN_V6)]
        {
            let before = site.counters();
            let mut stream = TcpStream::connect(at(vip, ECHO)).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), at(vip, ECHO));
            echoes(&mut stream, b"hello");
            echoes(&mut stream, &vec![b'x'; 1 << 21]);
            let asked = format!("asked {}", at(cluster, ECHO));
            assert_eq!(site.events.count(&asked), 1, "{:?}", site.events.all());
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
            let moved = [
                "flow.admitted",
                "from_app.syn_held",
                "from_app.tcp_vip_crossed",
                "from_daemon.reply_passed",
                "from_daemon.syn_vip_crossed",
                "from_listener.tcp_vip",
                "pick_listener.assigned",
                "tun.arrived",
            ];
            assert_eq!(site.counters().moved_since(&before), moved);
        }
    });
}

#[test]
fn a_refusal_comes_from_the_vip() {
    with_vips(|_| {
        for vip in [VIP_V4, VIP_V6] {
            let error = TcpStream::connect(at(vip, CLOSED)).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        }
    });
}

#[test]
fn udp_through_a_vip_both_ways_also_in_fragments() {
    with_vips(|site| {
        for vip in [VIP_V4, VIP_V6, VIP_OF_HIDDEN, VIP_OF_HIDDEN_V6] {
            let before = site.counters();
            let socket = udp::connected(vip, ECHO);
            udp::echoes(&socket, b"hello");
            udp::echoes(&socket, b"hello again");
            udp::echoes(&socket, &vec![3; 50_000]);
            let moved = [
                "flow.admitted",
                "from_app.fragment_vip_crossed",
                "from_app.udp_held",
                "from_app.udp_vip_crossed",
                "from_daemon.reply_passed",
                "from_daemon.udp_vip_crossed",
                "from_listener.fragment_vip",
                "from_listener.udp_vip",
                "tun.arrived",
            ];
            assert_eq!(site.counters().moved_since(&before), moved);
        }
    });
}

#[test]
fn vip_and_cluster_address_side_by_side() {
    with_vips(|site| {
        let mut by_vip = TcpStream::connect(at(VIP_V4, ECHO)).unwrap();
        let mut direct = TcpStream::connect(at(V4, ECHO)).unwrap();
        for _ in 0..10 {
            echoes(&mut by_vip, b"by name");
            echoes(&mut direct, b"direct");
        }
        let dump = site.dataplane.dump(Some("nat")).unwrap();
        let Rows::Nat(rows) = &dump[0].rows else { panic!("{dump:?}") };
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].app, rows[0].cluster), (by_vip.local_addr().unwrap(), at(V4, ECHO)));
        assert_eq!(rows[0].vip, at(VIP_V4, 0).ip());
    });
}

/// Two exits for one cluster address: the second VIP is itself inside, so the two never meet, not even from one port.
#[test]
fn two_vips_of_one_address_carry_the_same_port_side_by_side() {
    with_vips(|site| {
        let pairs = [(VIP_V4, "246.246.0.2", "198.18.84.113"), (VIP_V6, "fd74:7076::2", "fd74:7074::1")];
        for (first, second, app) in pairs {
            site.dataplane.change_vips(&[add(second, second)]).unwrap();
            let mut streams = [first, second].map(|vip| from(app, 40_000, vip).unwrap());
            let sockets = [first, second].map(|vip| {
                let socket = socket2::Socket::new(
                    socket2::Domain::for_address(at(vip, 0)),
                    socket2::Type::DGRAM,
                    None,
                )
                .unwrap();
                socket.set_reuse_address(true).unwrap();
                socket.bind(&at(app, 40_001).into()).unwrap();
                socket.connect(&at(vip, ECHO).into()).unwrap();
                socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
                std::net::UdpSocket::from(socket)
            });
            for round in 0..10u8 {
                for (n, (stream, socket)) in streams.iter_mut().zip(&sockets).enumerate() {
                    echoes(stream, &vec![round * 2 + u8::try_from(n).unwrap(); 20_000]);
                    udp::echoes(socket, &[round * 2 + u8::try_from(n).unwrap(); 50]);
                }
            }
            let cluster = if first == VIP_V4 { V4 } else { V6 };
            for inside in [cluster, second] {
                assert_eq!(site.events.count(&format!("asked {}", at(inside, ECHO))), 2, "TCP and UDP");
            }
        }
        assert_eq!(site.counters().get("flow.vip_conflict"), 0);
        assert_eq!(site.counters().get("flow.unexpected_reset"), 0);
    });
}

fn from(app: &str, port: u16, to: &str) -> std::io::Result<TcpStream> {
    let to = at(to, ECHO);
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&at(app, port).into())?;
    socket.connect(&to.into()).map(|()| TcpStream::from(socket))
}

/// In the private namespace the two would be one connection.
#[test]
fn the_same_port_to_both_names_of_an_address_is_refused_not_mixed_up() {
    with_vips(|site| {
        let mut first = from("198.18.84.113", 40_000, VIP_V4).unwrap();
        let second = from("198.18.84.113", 40_000, V4);
        assert_eq!(second.unwrap_err().kind(), std::io::ErrorKind::HostUnreachable);
        assert_eq!(site.counters().get("flow.vip_conflict"), 1);
        echoes(&mut first, b"undisturbed");
    });
}

/// Loopback, link-local and the like cannot live in the private namespace, nor can what is not local there: such a VIP
/// is itself inside, and only the session knows what it stands for.
#[test]
fn a_vip_for_an_address_that_cannot_be_inside_is_itself_there() {
    with_vips(|site| {
        for (number, cluster) in ["127.0.0.1", "169.254.1.1", "10.98.0.1", "0.0.0.0"].iter().enumerate() {
            let vip = format!("246.246.1.{number}");
            site.dataplane.change_vips(&[add(&vip, cluster)]).unwrap();
            echoes(&mut TcpStream::connect(at(&vip, ECHO)).unwrap(), b"hello");
            udp::echoes(&udp::connected(&vip, ECHO), b"hello");
            assert_eq!(site.events.count(&format!("asked {}", at(&vip, ECHO))), 2);
        }
        assert_eq!(site.counters().get("from_app.tcp_vip_crossed"), 0);
    });
}

#[test]
fn an_address_of_the_pool_without_a_vip_is_the_sessions_to_refuse() {
    with_vips(|site| {
        for ip in ["246.246.77.7", "fd74:7076::77"] {
            let refused = TcpStream::connect(at(ip, crate::far_end::HOST_ABSENT)).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::HostUnreachable);
            assert_eq!(site.events.count(&format!("asked {}", at(ip, crate::far_end::HOST_ABSENT))), 1);
        }
    });
}

#[test]
fn a_pool_of_a_16_can_be_used_up() {
    with_vips(|site| {
        let all: Vec<Change> = (0..=u16::MAX)
            .map(|low| {
                let [high, low] = low.to_be_bytes();
                Change::Add { vip: [246, 246, high, low].into(), inside: [10, 96, high, low].into() }
            })
            .collect();
        let v6 = [VIP_V6, VIP_OF_HIDDEN_V6].map(|vip| Change::Remove { vip: vip.parse().unwrap() });
        site.dataplane.change_vips(&[&v6[..], &all].concat()).unwrap();
        echoes(&mut TcpStream::connect(at("246.246.255.254", ECHO)).unwrap(), b"the last one");
        assert_eq!(site.events.count(&format!("asked {}", at("10.96.255.254", ECHO))), 1);
        // What the map has no room for is itself inside, and works.
        let Rows::Vips(rows) = &site.dataplane.dump(Some("vips")).unwrap()[0].rows else { panic!() };
        assert_eq!(rows.len(), 65_536);
        for (vip, inside) in [("fd74:7076::8", "fd96::8"), ("fd74:7076::9", "fd96::9")] {
            site.dataplane.change_vips(&[add(vip, inside)]).unwrap();
            echoes(&mut TcpStream::connect(at(vip, ECHO)).unwrap(), b"no room for a rewrite");
            assert_eq!(site.events.count(&format!("asked {}", at(vip, ECHO))), 1);
        }
    });
}

#[test]
fn a_vip_that_is_withdrawn_leaves_living_flows_their_answers() {
    with_vips(|site| {
        let mut stream = TcpStream::connect(at(VIP_V4, COUNT)).unwrap();
        stream.write_all(b"123").unwrap();
        let all = [VIP_V4, VIP_V6, VIP_OF_HIDDEN, VIP_OF_HIDDEN_V6]
            .map(|vip| Change::Remove { vip: vip.parse().unwrap() });
        site.dataplane.change_vips(&all).unwrap();
        // What was on its way is answered under the old name; the name itself stands for nothing any more, which is
        // the session's to say.
        drop(TcpStream::connect(at(VIP_V4, ECHO)).unwrap());
        assert_eq!(site.events.count(&format!("asked {}", at(VIP_V4, ECHO))), 1);
        let Rows::Vips(rows) = &site.dataplane.dump(Some("vips")).unwrap()[0].rows else { panic!() };
        assert_eq!(rows.len(), 0);
        eventually(
            "the flow's entry is still there",
            || matches!(&site.dataplane.dump(Some("nat")).unwrap()[0].rows, Rows::Nat(rows) if rows.len() == 1),
        );
    });
}
