//! What only the dataplane in user space has to prove: its own TCP and UDP, and how it knows what the kernel programs see.
//! What both of them promise is tested with both, where it stands.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tp_daemon::dataplane::{Dataplane, Rows};

use crate::dns::{self, How};
use crate::far_end::{COUNT, ECHO, GREET, GREETING, SLOW};
use crate::forwarded::{Machine, masquerade};
use crate::site::{V4, V6, at, echoes, eventually, sh, userspace_site, userspace_sites};
use crate::udp;
use crate::vip::{VIP_V4, VIP_V6, set_usual_vips};

#[test]
fn bytes_travel_both_ways_and_through_vips() {
    userspace_sites(|site| {
        set_usual_vips(site);
        for (ip, cluster) in [(V4, V4), (V6, V6), (VIP_V4, V4), (VIP_V6, V6)] {
            let before = site.events.count(&format!("asked {}", at(cluster, ECHO)));
            let mut stream = TcpStream::connect(at(ip, ECHO)).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), at(ip, ECHO));
            echoes(&mut stream, b"hello");
            echoes(&mut stream, &vec![b'x'; 1 << 20]);
            assert_eq!(site.events.count(&format!("asked {}", at(cluster, ECHO))), before + 1);
            let socket = udp::connected(ip, ECHO);
            for n in 0..10u8 {
                udp::echoes(&socket, &[n; 100]);
            }
        }
        let Rows::Flows(rows) = &site.dataplane.dump(Some("flows")).unwrap()[0].rows else { panic!() };
        let row = rows.iter().find(|row| row.dest == at(V4, ECHO)).unwrap();
        assert_eq!((row.packets_to_cluster, row.bytes_to_cluster, row.state), (10, 1280, "answered"));
        let error = site.dataplane.dump(Some("nat")).unwrap_err().to_string();
        assert!(error.contains("userspace") && error.contains("hint:"), "{error}");
    });
}

/// Everything is one direction at a time in the other tests.
#[test]
fn both_directions_at_once() {
    userspace_sites(|_| {
        for ip in [V4, V6] {
            let mut stream = TcpStream::connect(at(ip, ECHO)).unwrap();
            let mut writer = stream.try_clone().unwrap();
            let sent: Vec<u8> = (0..20_000_000u32).map(|n| (n % 251) as u8).collect();
            let expected = sent.clone();
            let writing = thread::spawn(move || {
                writer.write_all(&sent).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            writing.join().unwrap();
            assert!(received == expected, "{} of {} bytes", received.len(), expected.len());
        }
    });
}

#[test]
fn large_datagrams_come_in_fragments_and_leave_whole() {
    userspace_sites(|site| {
        for ip in [V4, V6] {
            let socket = udp::connected(ip, ECHO);
            udp::echoes(&socket, &vec![9; 40_000]); // the first one too
            udp::echoes(&socket, &vec![7; 60_000]);
        }
        assert!(site.counters().get("tun.fragment") >= 8, "{:?}", site.counters());
    });
}

#[test]
fn an_app_that_closed_its_socket_tells_the_far_end() {
    userspace_sites(|site| {
        for ip in [V4, V6] {
            let before = site.events.count("failed: ConnectionRefused");
            let socket = udp::connected(ip, SLOW);
            socket.send(b"and away").unwrap();
            drop(socket);
            eventually("the far end hears it", || site.events.count("failed: ConnectionRefused") > before);
        }
    });
}

#[test]
fn a_narrow_way_to_the_app_is_learnt_of() {
    for ip in [V4, V6] {
        userspace_site(move |site| {
            let machine = Machine::behind_bridge(site);
            // The machine believes in 1500 bytes, and the workstation forwards 1300.
            sh("ip route add 172.30.0.2/32 dev br0 mtu 1300; ip -6 route add fd30:0::2/128 dev br0 mtu 1300");
            machine.run(|| {
                let mut stream = TcpStream::connect(at(ip, GREET)).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let mut greeting = Vec::new();
                stream.read_to_end(&mut greeting).unwrap();
                assert_eq!(greeting.len(), GREETING);
            });
            let socket = machine.run(|| {
                let socket = udp::connected(ip, ECHO);
                udp::echoes(&socket, b"open");
                socket
            });
            // The first one that is too large is lost, as anywhere; the next one comes in parts.
            machine.run(|| {
                socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
                let arrives = || socket.send(&[7; 1400]).and_then(|_| socket.recv(&mut [0; 2000])).is_ok();
                assert!(arrives() || arrives(), "{:?}", site.counters());
            });
        });
    }
}

/// A masqueraded sender looks like this machine; connection tracking knows better.
#[test]
fn a_forwarded_flow_from_the_nodes_is_refused_also_when_masqueraded() {
    userspace_site(|site| {
        let node = Machine::behind_bridge(site);
        let other = Machine::behind(site, 1);
        site.dataplane.set_node_side(&[node.bridge_index]).unwrap();
        for masqueraded in [false, true] {
            if masqueraded {
                masquerade();
            }
            node.run(|| {
                for ip in [V4, V6] {
                    let error = TcpStream::connect(at(ip, ECHO)).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{ip}: {error:?}");
                    let socket = udp::connected(ip, ECHO);
                    socket.send(b"loop?").unwrap();
                    assert_eq!(socket.recv(&mut [0; 10]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
                }
            });
            other.run(|| {
                for ip in [V4, V6] {
                    echoes(&mut TcpStream::connect(at(ip, ECHO)).unwrap(), b"a container of somebody else's");
                }
            });
            for ip in [V4, V6] {
                echoes(&mut TcpStream::connect(at(ip, ECHO)).unwrap(), b"the workstation's own app");
            }
        }
        assert_eq!(site.counters().get("from_app.node_side_refused"), 8);
    });
}

#[test]
fn an_address_is_closed_to_others_for_the_block_duration() {
    userspace_site(|site| {
        site.dataplane.set_recursion_block(Duration::from_secs(2)).unwrap();
        let mut first = TcpStream::connect(at(V4, ECHO)).unwrap();
        echoes(&mut first, b"admitted for good");
        let error = TcpStream::connect(at(V4, ECHO)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        echoes(&mut first, b"established flows are not asked");
        eventually("the block is over", || TcpStream::connect(at(V4, ECHO)).is_ok());
    });
}

#[test]
fn the_server_that_was_asked_is_known_by_the_apps_socket() {
    userspace_site(|site| {
        dns::serve(site);
        for server in ["198.18.84.114:53", "[fd74:7074::2]:53"] {
            for how in [How::UnconnectedUdp, How::Tcp] {
                assert_eq!(dns::ask(how, server), ("direct".to_owned(), server.to_owned()));
            }
        }
        site.dataplane.attach_dns_hooks().unwrap();
        for server in ["192.0.2.53:53", "127.0.0.53:53", "[2001:db8::53]:53"] {
            for how in [How::ConnectedUdp, How::UnconnectedUdp, How::Tcp] {
                assert_eq!(dns::ask(how, server), (server.to_owned(), server.to_owned()), "{how:?}");
            }
        }
        let dual = ("192.0.2.53:53".to_owned(), "[::ffff:192.0.2.53]:53".to_owned());
        for how in [How::UnconnectedUdp, How::Tcp] {
            assert_eq!(dns::ask(how, "[::ffff:192.0.2.53]:53"), dual, "{how:?}");
        }
    });
}

/// Bounded memory, and nobody else waits.
#[test]
fn an_app_that_does_not_read_disturbs_nobody() {
    userspace_site(|_| {
        let slow: Vec<(TcpStream, usize)> = (0..20)
            .map(|_| {
                let mut stream = TcpStream::connect(at(V4, ECHO)).unwrap();
                stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
                let mut sent = 0;
                // its echo is not read, so at last no more is taken
                while let Ok(taken) = stream.write(&[1; 1 << 16]) {
                    sent += taken;
                }
                (stream, sent)
            })
            .collect();
        let start = Instant::now();
        for _ in 0..100 {
            echoes(&mut TcpStream::connect(at(V4, ECHO)).unwrap(), &[2; 10_000]);
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        for (mut stream, sent) in slow {
            let mut some = vec![0; sent.min(1 << 20)];
            stream.read_exact(&mut some).unwrap();
            assert!(some.iter().all(|byte| *byte == 1));
        }
    });
}

#[test]
fn a_packet_of_no_connection_is_answered_with_a_reset() {
    userspace_site(|site| {
        let mut stream = TcpStream::connect(at(V4, ECHO)).unwrap();
        echoes(&mut stream, b"known");
        let port = stream.local_addr().unwrap();
        let (from, to) = (port, at(V4, 17)); // another port: nobody knows it
        let socket = crate::forwarded::raw_socket();
        let mut packet = crate::forwarded::syn_with_data(&from, &to);
        packet[33] = 0x10; // ACK
        socket.send_to(&packet, &to.into()).unwrap();
        eventually("it is seen", || site.counters().get("tun.unknown_segment") == 1);
        echoes(&mut stream, b"still there");
    });
}

/// `cargo test --profile profiling -p tp-daemon --test dataplane userspace::costs -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn costs() {
    crate::site::both(|site| {
        let kind = format!("{:?}", site.dataplane);
        for round in 0..3 {
            for (name, ip) in [("v4", V4), ("v6", V6)] {
                println!("{kind} {name} upload {:.1} Gbit/s (round {round})", upload(ip));
                println!("{kind} {name} download {:.1} Gbit/s (round {round})", download(ip));
            }
        }
        println!("{kind} v4 1-byte round trip p50 {:.0} us", round_trip(V4));
    });
}

const SECONDS: u64 = 2;

fn upload(ip: &str) -> f64 {
    let (start, block, mut sent) = (Instant::now(), vec![0; 1 << 18], 0u64);
    let mut stream = TcpStream::connect(at(ip, COUNT)).unwrap();
    while start.elapsed() < Duration::from_secs(SECONDS) {
        stream.write_all(&block).unwrap();
        sent += block.len() as u64;
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, sent.to_string());
    rate(sent, start)
}

fn download(ip: &str) -> f64 {
    let (mut buf, mut received) = (vec![0; 1 << 18], 0u64);
    let mut stream = TcpStream::connect(at(ip, crate::far_end::POUR)).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(SECONDS) {
        received += stream.read(&mut buf).unwrap() as u64;
    }
    rate(received, start)
}

fn rate(bytes: u64, start: Instant) -> f64 {
    bytes as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9
}

fn round_trip(ip: &str) -> f64 {
    let mut stream = TcpStream::connect(at(ip, ECHO)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut times: Vec<Duration> = (0..5000)
        .map(|_| {
            let start = Instant::now();
            echoes(&mut stream, b"x");
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// `... userspace::idle_connections -- --ignored --nocapture`: what this process costs, both ends and kernel apart.
#[test]
#[ignore = "a measurement"]
fn idle_connections() {
    userspace_site(|site| {
        let most = nix::sys::resource::Resource::RLIMIT_NOFILE;
        let (_, hard) = nix::sys::resource::getrlimit(most).unwrap();
        nix::sys::resource::setrlimit(most, hard, hard).unwrap();
        let before = resident();
        let mut held = Vec::new();
        for n in 0..10_000usize {
            let mut stream = TcpStream::connect(at(V4, ECHO + u16::try_from(n % 8).unwrap() * 1000)).unwrap();
            echoes(&mut stream, b"x");
            held.push(stream);
        }
        assert_eq!(site.counters().get("flow.admitted"), 10_000);
        println!(
            "{} bytes of memory per idle connection, far end of the test included",
            (resident() - before) / 10_000
        );
    });
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
