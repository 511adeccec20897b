//! The machine's own DNS server, behind a wire of its own. It knows `*.example.*`, but nothing called `none`.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use nix::sched::{CloneFlags, unshare};

use crate::OUTSIDE;
use crate::machine::sh;

pub(crate) struct Upstream {
    heard: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    /// Serves on 192.0.2.53 in a network namespace of its own, at the end of `up0` of the caller's.
    pub(crate) fn start() -> Self {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let (ready, is_ready) = mpsc::channel();
        let (wired, is_wired) = mpsc::channel::<()>();
        let (serving, is_serving) = mpsc::channel();
        let hears = Arc::clone(&heard);
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ready.send(nix::unistd::gettid()).unwrap();
            is_wired.recv().unwrap();
            sh("ip link set lo up; ip addr add 192.0.2.53/24 dev up1; ip link set up1 up");
            let udp = UdpSocket::bind("192.0.2.53:53").unwrap();
            let tcp = TcpListener::bind("192.0.2.53:53").unwrap();
            let hears_too = Arc::clone(&hears);
            thread::spawn(move || over_tcp(&tcp, &hears_too));
            serving.send(()).unwrap();
            let mut query = [0; 4096];
            while let Ok((len, from)) = udp.recv_from(&mut query) {
                let _ = udp.send_to(&answer(&query[..len], &hears), from);
            }
        });
        let thread = is_ready.recv().unwrap();
        sh("ip link add up0 type veth peer name up1; ip addr add 192.0.2.1/24 dev up0; ip link set up0 up");
        sh(&format!("ip link set up1 netns {thread}"));
        wired.send(()).unwrap();
        is_serving.recv().unwrap();
        Self { heard }
    }

    /// Names that it was asked for.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn over_tcp(listener: &TcpListener, heard: &Mutex<Vec<String>>) {
    while let Ok((mut stream, _)) = listener.accept() {
        let mut len = [0; 2];
        while stream.read_exact(&mut len).is_ok() {
            let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut query).unwrap();
            let answer = answer(&query, heard);
            stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        }
    }
}

/// Speaks no EDNS, as many home routers.
fn answer(query: &[u8], heard: &Mutex<Vec<String>>) -> Vec<u8> {
    let mut name = String::new();
    let mut at = 12;
    while query[at] != 0 {
        let label = &query[at + 1..=at + usize::from(query[at])];
        name.push_str(&String::from_utf8_lossy(label).to_lowercase());
        name.push('.');
        at += 1 + label.len();
    }
    let (rtype, end) = (query[at + 2], at + 5);
    let known = name.contains("example.") && !name.starts_with("none.");
    heard.lock().unwrap().push(name);
    let mut answer = query[..end].to_vec();
    answer[2] |= 0x80;
    answer[3] = if known { 0x80 } else { 0x83 };
    answer[6..12].fill(0);
    if known && rtype == 1 {
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(OUTSIDE.octets());
    }
    answer
}
