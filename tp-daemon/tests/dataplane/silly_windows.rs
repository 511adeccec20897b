//! An app with little room that has not read for a while gets what is left in segments worth one, not byte by byte.

use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::far_end::{ENDING, MEGABYTES, counted};
use crate::site::{V4, V6, at, userspace_sites};

/// Of each family: it does not happen to every flow.
const FLOWS: usize = 20;
const ROOM: usize = 16 << 10;
/// Long enough for probes of the closed window.
const STALL: Duration = Duration::from_secs(3);
const ENOUGH: Duration = Duration::from_secs(60);

#[test]
fn userspace_apps_with_little_room_are_not_fed_single_bytes() {
    userspace_sites(|_| {
        let before = segments_to_apps();
        let apps: Vec<_> = [V4, V6].repeat(FLOWS).into_iter().map(connected).collect();
        let bytes = apps.len() * MEGABYTES;
        thread::sleep(STALL);
        thread::scope(|scope| {
            for app in apps {
                scope.spawn(move || drain(app));
            }
        });
        let segments = segments_to_apps() - before;
        assert!(bytes / segments >= 500, "{segments} segments of {} bytes", bytes / segments);
    });
}

fn connected(ip: &str) -> TcpStream {
    let address = at(ip, ENDING);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(ROOM).unwrap();
    socket.connect(&address.into()).unwrap();
    let app = TcpStream::from(socket);
    app.set_read_timeout(Some(ENOUGH)).unwrap();
    app
}

/// As an app does that takes a message at a time.
fn drain(mut app: TcpStream) {
    let (start, mut received, mut buf) = (Instant::now(), Vec::with_capacity(MEGABYTES), [0; 1000]);
    loop {
        match app.read(&mut buf).unwrap() {
            0 => break,
            n => received.extend_from_slice(&buf[..n]),
        }
        assert!(start.elapsed() < ENOUGH, "{} bytes", received.len());
    }
    assert!(received == counted(MEGABYTES), "{} bytes", received.len());
}

/// Of all devices of this namespace but the loopback.
fn segments_to_apps() -> usize {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let devices = table.lines().filter_map(|line| line.split_once(':'));
    let packets = devices.filter(|(name, _)| name.trim() != "lo");
    packets.map(|(_, counts)| counts.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()).sum()
}
