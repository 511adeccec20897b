//! Honest connect: the app sees what the far end said, at once, over IPv4 and IPv6.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::far_end::{
    CLOSED, COUNT, DROPPED, ECHO, FORBIDDEN, GREET, GREETING, HOST_ABSENT, NO_ROUTE, RESET, SLOW, UNDECIDED,
};
use crate::site::{Site, V4, V6, at, both, echoes, eventually, sh, site};

const BOTH: [&str; 2] = [V4, V6];

fn connect(ip: &str, port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&at(ip, port), Duration::from_secs(20))
}

#[test]
fn an_open_port_connects_and_carries_bytes() {
    site(|site| {
        for ip in BOTH {
            let before = site.counters();
            let mut stream = connect(ip, ECHO).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), at(ip, ECHO));
            echoes(&mut stream, b"hello");
            echoes(&mut stream, &vec![b'x'; 1 << 20]);
            drop(stream);
            eventually("the far end sees the end", || site.events.count("ended") > 0);
            let moved = [
                "flow.admitted",
                "from_app.syn_held",
                "from_app.tcp_crossed",
                "from_daemon.reply_passed",
                "from_daemon.syn_crossed",
                "from_listener.tcp",
                "pick_listener.assigned",
                "tun.arrived",
            ];
            assert_eq!(site.counters().moved_since(&before), moved);
        }
    });
}

#[test]
fn a_closed_port_refuses() {
    site(|site| {
        for ip in BOTH {
            let before = site.counters();
            assert_eq!(connect(ip, CLOSED).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            let moved = ["flow.refused", "from_app.syn_held", "from_daemon.answer_passed", "tun.arrived"];
            assert_eq!(site.counters().moved_since(&before), moved);
        }
    });
}

fn fails(ip: &str, port: u16, errno: i32) {
    // Blocking: after an ICMP error a kernel now and then wakes poll(2) with no error to fetch (1 in 50 000).
    let error = TcpStream::connect(at(ip, port)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(errno), "{ip} {port}: {error:?}");
}

#[test]
fn an_absent_host_and_a_missing_route_are_told_apart() {
    both(|site| {
        for ip in BOTH {
            fails(ip, HOST_ABSENT, libc::EHOSTUNREACH);
            fails(ip, NO_ROUTE, libc::ENETUNREACH);
            fails(ip, DROPPED, libc::EHOSTUNREACH);
        }
        fails(V4, FORBIDDEN, libc::EHOSTUNREACH);
        fails(V6, FORBIDDEN, libc::EACCES);
        assert_eq!(site.counters().get("tun.write_failed"), 0);
    });
}

#[test]
fn a_slow_dial_is_asked_for_once_and_then_connects() {
    both(|site| {
        for ip in BOTH {
            let mut stream = connect(ip, SLOW).unwrap();
            echoes(&mut stream, b"late but here");
        }
        assert!(site.counters().get("tun.retransmit_ignored") >= 2, "{:?}", site.counters());
        assert_eq!(site.counters().get("tun.arrived"), 2);
    });
}

/// As where the listener's queue was full: the app's kernel sends its SYN again, and that is all that helps.
#[test]
fn an_admitted_syn_that_was_lost_is_made_good_by_its_copy() {
    site(|site| {
        for ip in BOTH {
            let before = site.counters();
            sh("ip link set tpv down");
            let connecting = std::thread::spawn(move || connect(ip, ECHO));
            let crossed = |name: &str| site.counters().get(name) > before.get(name);
            eventually("the SYN is admitted", || crossed("from_daemon.syn_crossed"));
            assert!(!crossed("flow.admitted"), "it cannot have arrived");
            sh("ip link set tpv up");
            echoes(&mut connecting.join().unwrap().unwrap(), b"after all");
            assert!(crossed("tun.syn_again"));
            assert_eq!(site.counters().get("tun.arrived"), before.get("tun.arrived") + 1, "asked for once");
        }
        assert_eq!(site.counters().get("flow.unexpected_reset"), 0);
    });
}

#[test]
fn without_a_verdict_the_apps_own_timeout_decides() {
    both(|_| {
        let error = TcpStream::connect_timeout(&at(V4, UNDECIDED), Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn the_apps_half_close_keeps_the_answer() {
    both(|_| {
        for ip in BOTH {
            let mut stream = connect(ip, COUNT).unwrap();
            stream.write_all(&vec![1; 300_000]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "300000");
        }
    });
}

#[test]
fn the_far_ends_half_close_keeps_the_other_direction() {
    both(|site| {
        for ip in BOTH {
            let mut stream = connect(ip, GREET).unwrap();
            let mut greeting = Vec::new();
            stream.read_to_end(&mut greeting).unwrap();
            assert_eq!(greeting.len(), GREETING);
            stream.write_all(&vec![2; 200_000]).unwrap();
            drop(stream);
        }
        eventually("the far end reads what came after its end", || site.events.count("read 200000") == 2);
    });
}

#[test]
fn a_reset_of_the_far_end_reaches_the_app() {
    both(|_| {
        for ip in BOTH {
            let mut stream = connect(ip, RESET).unwrap();
            stream.write_all(b"x").unwrap();
            let error = stream.read(&mut [0; 1]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn a_reset_of_the_app_reaches_the_far_end() {
    both(|site| {
        for ip in BOTH {
            let mut stream = connect(ip, ECHO).unwrap();
            echoes(&mut stream, b"hello");
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            drop(stream);
        }
        eventually("two resets", || site.events.count("failed: ConnectionReset") == 2);
    });
}

#[test]
fn a_port_can_be_used_again_at_once() {
    both(|site| {
        for ip in BOTH {
            reuse(site, ip);
        }
    });
}

/// The far end closes first, so its side is in TIME_WAIT when the app comes again from the same port.
fn reuse(site: &Site, ip: &str) {
    let wildcard = if ip == V4 { "0.0.0.0" } else { "::" };
    let connect = || -> std::io::Result<socket2::Socket> {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(at(ip, 0)), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&at(wildcard, 45_000).into())?;
        socket.connect(&at(ip, GREET).into())?;
        Ok(socket)
    };
    for round in 0..20 {
        let mut connected = Err(ErrorKind::AddrNotAvailable.into());
        // The app's own end is free once the last ACK has come.
        eventually("the app's port is free", || {
            connected = connect();
            !matches!(&connected, Err(error) if error.kind() == ErrorKind::AddrNotAvailable)
        });
        let socket = connected.unwrap();
        let mut stream = TcpStream::from(socket);
        let mut greeting = Vec::new();
        stream.read_to_end(&mut greeting).unwrap();
        drop(stream);
        eventually("the far end ends", || site.events.count("read 0") > round);
    }
    assert_eq!(site.counters().get("flow.unexpected_reset"), 0);
}

#[test]
fn many_connections_at_the_same_time() {
    both(|site| {
        let clients: Vec<_> = (0..200u32)
            .map(|n| {
                std::thread::spawn(move || {
                    let mut stream = connect(BOTH[n as usize % 2], ECHO).unwrap();
                    echoes(&mut stream, &n.to_be_bytes().repeat(5000));
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        assert_eq!(site.counters().get("flow.admitted"), 200);
    });
}

/// What the far end does tells the flows apart: a flow that got another's connection would do the wrong thing on it.
#[test]
fn flows_that_are_admitted_at_the_same_time_each_get_their_own_connection() {
    site(|site| {
        let clients: Vec<_> = (0..90usize)
            .map(|n| {
                std::thread::spawn(move || {
                    for round in 0..10 {
                        its_own(BOTH[n % 2], [ECHO, COUNT, GREET][n % 3], n + round);
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        assert_eq!(site.counters().get("flow.admitted"), 900);
        assert_eq!(site.counters().get("flow.unexpected_reset"), 0);
    });
}

fn its_own(ip: &str, port: u16, bytes: usize) {
    let mut stream = connect(ip, port).unwrap();
    stream.write_all(&vec![b'o'; bytes]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let expected = match port {
        ECHO => vec![b'o'; bytes],
        COUNT => bytes.to_string().into_bytes(),
        _ => vec![b'g'; GREETING],
    };
    assert!(answer == expected, "{port}: {} bytes", answer.len());
}

/// The SYN-ACKs are lost at first. The flows' own tasks find no connection then: the listener must wake for it.
#[test]
fn a_handshake_that_completes_late_is_accepted() {
    site(|site| {
        sh("nft add table inet lossy
            nft 'add chain inet lossy in { type filter hook input priority 0; }'
            nft 'add rule inet lossy in iifname tp0 tcp flags & (syn | ack) == syn | ack drop'");
        let apps: Vec<_> = (0..20usize)
            .map(|n| {
                std::thread::spawn(move || {
                    echoes(&mut connect(BOTH[n % 2], ECHO).unwrap(), &[n.to_le_bytes()[0]; 9]);
                })
            })
            .collect();
        eventually("all are admitted", || site.counters().get("pick_listener.assigned") >= 20);
        assert_eq!(site.counters().get("flow.admitted"), 0, "nothing was accepted yet");
        sh("nft delete table inet lossy");
        for app in apps {
            app.join().unwrap();
        }
        assert_eq!(site.counters().get("flow.admitted"), 20);
    });
}

/// The kernel gives the app's port to the next connection at once, maybe before the first has been accepted.
#[test]
fn connections_that_are_reset_at_once_do_not_disturb_the_next() {
    both(|site| {
        for _ in 0..8000 {
            let stream = TcpStream::connect(at(V4, ECHO)).unwrap();
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(site.counters().get("flow.unexpected_reset"), 0);
    });
}
