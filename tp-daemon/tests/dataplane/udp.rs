//! UDP flows: both ways, refused, idle, bounded, in fragments.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use tp_core::udp_flows::Limits;
use tp_daemon::dataplane::{Choice, Dataplane, Rows};

use crate::far_end::{CLOSED, ECHO, FORBIDDEN};
use crate::site::{
    USERSPACE, USERSPACE_1500, V4, V6, at, both, eventually, options, site, site_of, site_with,
};
use crate::vip::{VIP_V4, VIP_V6, set_usual_vips};

const BOTH: [&str; 2] = [V4, V6];

/// A socket connected to the far end, which gives up after a while.
pub(crate) fn connected(ip: &str, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind(at(if ip.contains(':') { "::" } else { "0.0.0.0" }, 0)).unwrap();
    socket.connect(at(ip, port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

pub(crate) fn echoes(socket: &UdpSocket, text: &[u8]) {
    socket.send(text).unwrap();
    let mut answer = vec![0; 1 << 16];
    let n = socket.recv(&mut answer).unwrap();
    assert_eq!(&answer[..n], text);
}

#[test]
fn datagrams_travel_both_ways_and_are_counted() {
    site(|site| {
        for (ip, header) in [(V4, 28), (V6, 48)] {
            let before = site.counters();
            let socket = connected(ip, ECHO);
            for n in 0..10u8 {
                echoes(&socket, &[n; 100]);
            }
            let moved = [
                "flow.admitted",
                "from_app.udp_crossed",
                "from_app.udp_held",
                "from_daemon.reply_passed",
                "from_daemon.udp_crossed",
                "from_listener.udp",
                "tun.arrived",
            ];
            assert_eq!(site.counters().moved_since(&before), moved);
            assert_eq!(site.counters().get("from_app.udp_held"), before.get("from_app.udp_held") + 1);

            let dump = site.dataplane.dump(Some("flows")).unwrap();
            let Rows::Flows(rows) = &dump[0].rows else { panic!("{dump:?}") };
            let row = rows.iter().find(|row| row.app == socket.local_addr().unwrap()).unwrap();
            assert_eq!(row.dest, at(ip, ECHO));
            assert_eq!(row.state, "answered");
            // The first one was held by the daemon, so the kernel saw nine.
            assert_eq!((row.packets_to_cluster, row.bytes_to_cluster), (9, 9 * (100 + header)));
            assert_eq!((row.packets_to_app, row.bytes_to_app), (10, 10 * (100 + header)));
        }
    });
}

#[test]
fn a_closed_port_refuses_the_next_call() {
    both(|_| {
        for ip in BOTH {
            let socket = connected(ip, CLOSED);
            socket.send(b"anyone?").unwrap();
            assert_eq!(socket.recv(&mut [0; 10]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            // "Host unreachable" may be a passing state, so kernels do not report it for UDP; this they do.
            let socket = connected(ip, FORBIDDEN);
            socket.send(b"anyone?").unwrap();
            let expected = if ip == V4 { libc::EHOSTUNREACH } else { libc::EACCES };
            assert_eq!(socket.recv(&mut [0; 10]).unwrap_err().raw_os_error(), Some(expected));
        }
    });
}

#[test]
fn a_burst_before_the_verdict_arrives_whole_and_in_order() {
    both(|_| {
        let socket = connected(V4, crate::far_end::SLOW);
        for n in 0..16u8 {
            socket.send(&[n]).unwrap();
        }
        let mut answer = [0; 10];
        for n in 0..16u8 {
            assert_eq!(socket.recv(&mut answer).unwrap(), 1);
            assert_eq!(answer[0], n);
        }
    });
}

#[test]
fn an_idle_flow_ends_and_a_new_datagram_starts_another() {
    let short = Limits {
        idle_unanswered: Duration::from_millis(500),
        idle_answered: Duration::from_millis(1500),
        ..Limits::default()
    };
    let options = tp_daemon::dataplane::Options { udp: short, ..options() };
    for choice in [Choice::Ebpf, USERSPACE, USERSPACE_1500] {
        site_of(choice, options.clone(), |site| {
            let socket = connected(V4, ECHO);
            echoes(&socket, b"one");
            eventually("the flow is over", || site.events.count("idle") == 1);
            eventually("nobody knows it", || {
                site.dataplane.dump(Some("flows")).is_ok_and(|dump| dump[0].is_empty())
            });
            echoes(&socket, b"two");
            assert_eq!(site.counters().get("flow.udp_idle"), 1);
            assert_eq!(site.counters().get("flow.admitted"), 2);
        });
    }
}

#[test]
fn there_is_a_bound_and_it_says_so() {
    let few = Limits { max_flows: 2, ..Limits::default() };
    let options = tp_daemon::dataplane::Options { udp: few, ..options() };
    site_with(options, |site| {
        let kept = [connected(V4, ECHO), connected(V4, ECHO)];
        kept.iter().for_each(|socket| echoes(socket, b"in"));
        let before = site.counters();
        connected(V4, ECHO).send(b"out").unwrap();
        eventually("the third is answered", || {
            let moved = site.counters().moved_since(&before);
            moved.contains(&"flow.udp_too_many") && moved.contains(&"from_daemon.answer_passed")
        });
        kept.iter().for_each(|socket| echoes(socket, b"still in"));
    });
}

#[test]
fn datagrams_above_the_mtu_travel_in_fragments() {
    site(|site| {
        for ip in BOTH {
            let before = site.counters();
            let socket = connected(ip, ECHO);
            echoes(&socket, b"open"); // fragments of a flow that is still held would wait for their head
            echoes(&socket, &vec![7; 60_000]);
            let moved = site.counters().moved_since(&before);
            assert!(moved.contains(&"from_app.fragment_crossed"), "{moved:?}");
            assert!(moved.contains(&"from_listener.fragment"), "{moved:?}");
            let first = connected(ip, ECHO);
            echoes(&first, &vec![9; 40_000]); // also when the first datagram comes in fragments
        }
    });
}

#[test]
fn an_app_that_closed_its_socket_tells_the_far_end() {
    site(|site| {
        set_usual_vips(site);
        for (ip, exit) in [
            (V4, "from_app.icmp_error_crossed"),
            (V6, "from_app.icmp_error_crossed"),
            (VIP_V4, "from_app.icmp_error_vip_crossed"),
            (VIP_V6, "from_app.icmp_error_vip_crossed"),
        ] {
            let before = (site.counters().get(exit), site.events.count("failed: ConnectionRefused"));
            let socket = connected(ip, crate::far_end::SLOW);
            socket.send(b"and away").unwrap();
            drop(socket);
            // The answer finds no socket; the host's ICMP error crosses, and finds the far end's by what it quotes.
            eventually("the error crosses", || site.counters().get(exit) > before.0);
            eventually("the far end hears it", || site.events.count("failed: ConnectionRefused") > before.1);
        }
    });
}

/// The other way: the cluster has refused a datagram of a running flow.
#[test]
fn an_app_hears_that_a_later_datagram_was_refused() {
    both(|site| {
        set_usual_vips(site);
        for ip in [V4, V6, VIP_V4, VIP_V6] {
            let socket = connected(ip, crate::far_end::REFUSE_LATER);
            socket.send(b"first").unwrap();
            assert_eq!(socket.recv(&mut [0; 10]).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{ip}");
        }
    });
}
