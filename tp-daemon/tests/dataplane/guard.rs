//! The recursion guard: refused at once, in the kernel, whoever asks.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tp_daemon::dataplane::dump::RecursionRow;
use tp_daemon::dataplane::{Dataplane, Rows};

use crate::far_end::{CLOSED, DROPPED, ECHO, HOST_ABSENT, UNDECIDED};
use crate::forwarded::{self, Machine};
use crate::site::{Site, V4, V6, at, echoes, eventually, site};
use crate::udp;

#[test]
fn a_forwarded_flow_from_the_nodes_is_refused_an_apps_own_is_not() {
    site(|site| {
        let node = Machine::behind_bridge(site);
        site.dataplane.set_node_side(&[node.bridge_index]).unwrap();
        let before = site.counters();
        node.run(|| {
            for ip in [V4, V6] {
                let error = TcpStream::connect(at(ip, ECHO)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{ip}: {error:?}");
            }
        });
        assert_eq!(
            site.counters().moved_since(&before),
            ["from_app.node_side_refused", "from_daemon.reply_passed"]
        );
        for ip in [V4, V6] {
            echoes(&mut TcpStream::connect(at(ip, ECHO)).unwrap(), b"the workstation's own app");
        }
        let Rows::NodeSide(rows) = &site.dataplane.dump(Some("node_side")).unwrap()[0].rows else { panic!() };
        assert_eq!(rows[0].interface, node.bridge_index);
        site.dataplane.set_node_side(&[]).unwrap();
        node.run(|| echoes(&mut TcpStream::connect(at(V4, ECHO)).unwrap(), b"allowed again"));
    });
}

/// A datagram is answered by the daemon, which the kernel asks to.
#[test]
fn a_forwarded_datagram_from_the_nodes_is_refused_too() {
    site(|site| {
        let node = Machine::behind_bridge(site);
        site.dataplane.set_node_side(&[node.bridge_index]).unwrap();
        let before = site.counters();
        node.run(|| {
            for ip in [V4, V6] {
                let socket = udp::connected(ip, ECHO);
                socket.send(b"loop?").unwrap();
                assert_eq!(socket.recv(&mut [0; 10]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            }
        });
        let moved = ["from_app.node_side_to_daemon", "from_daemon.answer_passed", "tun.guard_refused"];
        assert_eq!(site.counters().moved_since(&before), moved);
    });
}

fn with_block(duration: Duration, test: impl FnOnce(&Site) + Send + 'static) {
    site(move |site| {
        site.dataplane.set_recursion_block(duration).unwrap();
        test(site);
    });
}

#[test]
fn an_address_is_closed_to_others_for_the_block_duration() {
    with_block(Duration::from_secs(3), |site| {
        for ip in [V4, V6] {
            let mut first = TcpStream::connect(at(ip, ECHO)).unwrap();
            echoes(&mut first, b"admitted for good");
            let before = site.counters();
            let error = TcpStream::connect(at(ip, ECHO)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert_eq!(
                site.counters().moved_since(&before),
                ["from_app.recursion_refused", "from_daemon.reply_passed"]
            );
            echoes(&mut first, b"established flows are not asked");
        }
        // Another port, and the same one over UDP, are other entries.
        echoes(&mut TcpStream::connect(at(V4, 17)).unwrap(), b"x");
        udp::echoes(&udp::connected(V4, ECHO), b"x");
        let rows = closed(site);
        assert_eq!(rows.len(), 4);
        assert!(rows.iter().all(|row| row.left_ms <= 3000 && row.state == "established"), "{rows:?}");
        eventually("the block is over", || TcpStream::connect(at(V4, ECHO)).is_ok());
    });
}

fn closed(site: &Site) -> Vec<RecursionRow> {
    match &site.dataplane.dump(Some("recursion")).unwrap()[0].rows {
        Rows::Recursion(rows) => rows.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_is_closed_to_others_while_a_flow_to_it_is_held() {
    with_block(Duration::from_millis(1), |site| {
        for ip in [V4, V6] {
            let to = at(ip, UNDECIDED);
            let waits = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
            waits.set_nonblocking(true).unwrap();
            waits.connect(&to.into()).unwrap_err(); // in progress
            eventually("it is held", || site.events.count(&format!("asked {to}")) == 1);
            for _ in 0..3 {
                let refused = TcpStream::connect_timeout(&to, Duration::from_secs(10)).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            }
            let row = closed(site).pop().unwrap();
            assert_eq!((row.dest, row.state, row.proto), (to, "held", "tcp"));
            assert_eq!(Some(row.first_app), waits.local_addr().unwrap().as_socket());
            assert!(row.left_ms <= 130_000, "not for longer than a flow may be held");
            assert_eq!(site.events.count(&format!("asked {to}")), 1);
            // Off at run time, the address is open to all.
            site.dataplane.set_recursion_block(Duration::ZERO).unwrap();
            assert_eq!(closed(site).len(), 0);
            site.dataplane.set_recursion_block(Duration::from_millis(1)).unwrap();
        }
    });
}

#[test]
fn a_refusal_opens_the_address_at_once() {
    with_block(Duration::from_secs(600), |site| {
        for (port, kind) in [
            (CLOSED, ErrorKind::ConnectionRefused),
            (HOST_ABSENT, ErrorKind::HostUnreachable),
            (DROPPED, ErrorKind::HostUnreachable),
        ] {
            for ip in [V4, V6] {
                for _ in 0..3 {
                    assert_eq!(TcpStream::connect(at(ip, port)).unwrap_err().kind(), kind);
                }
                assert_eq!(site.events.count(&format!("asked {}", at(ip, port))), 3);
            }
        }
        for _ in 0..3 {
            let socket = udp::connected(V4, CLOSED);
            socket.send(b"x").unwrap();
            assert_eq!(socket.recv(&mut [0; 10]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
        assert_eq!(site.counters().get("from_app.recursion_refused"), 0);
        assert_eq!(site.counters().get("from_app.recursion_to_daemon"), 0);
        assert_eq!(closed(site).len(), 0);
    });
}

/// A UDP flow closes its address like a connection, and its own datagrams pass.
#[test]
fn datagrams_are_blocked_like_connections() {
    with_block(Duration::from_secs(600), |site| {
        for ip in [V4, V6] {
            let first = udp::connected(ip, ECHO);
            udp::echoes(&first, b"one");
            udp::echoes(&first, b"two");
            let second = udp::connected(ip, ECHO);
            second.send(b"mine?").unwrap();
            assert_eq!(second.recv(&mut [0; 10]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            udp::echoes(&first, b"three");
            let row = closed(site).into_iter().find(|row| row.dest == at(ip, ECHO)).unwrap();
            assert_eq!((row.proto, row.state), ("udp", "established"));
            assert_eq!(row.first_app, first.local_addr().unwrap());
        }
        assert_eq!(site.counters().get("from_app.recursion_to_daemon"), 2);
    });
}

/// The guard must not refuse the flow that came first when its SYN is sent again.
#[test]
fn a_retransmit_of_the_first_flow_passes_the_block() {
    with_block(Duration::from_secs(60), |site| {
        let mut stream = TcpStream::connect(at(V4, crate::far_end::SLOW)).unwrap();
        echoes(&mut stream, b"late");
        assert!(site.counters().get("tun.retransmit_ignored") > 0);
        assert_eq!(site.counters().get("from_app.recursion_refused"), 0);
    });
}

#[test]
fn a_block_of_zero_is_off() {
    with_block(Duration::ZERO, |site| {
        let kept: Vec<_> = (0..5).map(|_| TcpStream::connect(at(V4, ECHO)).unwrap()).collect();
        assert_eq!(kept.len(), 5);
        assert!(site.dataplane.dump(Some("recursion")).unwrap()[0].is_empty());
    });
}

#[test]
fn a_syn_with_data_is_refused_as_well() {
    site(|site| {
        let node = Machine::behind_bridge(site);
        site.dataplane.set_node_side(&[node.bridge_index]).unwrap();
        node.run(|| {
            let raw = forwarded::syn_with_data(&at(forwarded::NODE_V4, 5000), &at(V4, ECHO));
            let socket = forwarded::raw_socket();
            socket.send_to(&raw, &at(V4, 0).into()).unwrap();
        });
        eventually("the daemon answers it", || site.counters().get("tun.guard_refused") == 1);
        assert_eq!(site.counters().get("tun.arrived"), 0);
    });
}
