//! Traffic the workstation forwards: another machine (a VM, a container, a node of a local cluster) behind a bridge.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, Socket, Type};

use crate::far_end::{CLOSED, COUNT, ECHO, HOST_ABSENT};
use crate::site::{Site, V4, V6, at, both, echoes, eventually, sh};
use crate::udp;

pub(crate) const NODE_V4: &str = "172.30.0.2";

/// A namespace that reaches the cluster through the workstation.
pub(crate) struct Machine {
    namespace: File,
    pub(crate) bridge_index: u32,
}

impl Machine {
    /// Behind the bridge `br0` of the test's namespace.
    pub(crate) fn behind_bridge(site: &Site) -> Self {
        Self::behind(site, 0)
    }

    /// Behind the bridge of that number, in networks of its own.
    pub(crate) fn behind(_: &Site, number: u8) -> Self {
        let host = pid_of_thread();
        let (v4, v6) = (format!("172.30.{number}"), format!("fd30:{number}:"));
        let (bridge, port) = (format!("br{number}"), format!("port{number}"));
        let inside = format!(
            "ip link set lo up
             ip link add eth0 type veth peer name {port}
             ip link set {port} netns {host}
             ip addr add {v4}.2/24 dev eth0
             ip -6 addr add {v6}:2/64 dev eth0 nodad
             ip link set eth0 up"
        );
        let namespace = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            sh(&inside);
            File::open("/proc/thread-self/ns/net").unwrap()
        })
        .join()
        .unwrap();
        sh(&format!(
            "echo 1 > /proc/sys/net/ipv4/ip_forward
             echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
             ip link add {bridge} type bridge
             ip addr add {v4}.1/24 dev {bridge}
             ip -6 addr add {v6}:1/64 dev {bridge} nodad
             ip link set {port} master {bridge} up
             ip link set {bridge} up"
        ));
        let machine = Self { namespace, bridge_index: index(&bridge) };
        machine.run(|| {
            sh(&format!("ip route add default via {v4}.1; ip -6 route add default via {v6}:1"));
            eventually("the bridge forwards", || {
                let answer = TcpStream::connect(at(&format!("{v4}.1"), 1));
                answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
            });
        });
        machine
    }

    /// Runs something on the machine.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.namespace, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// The process' id names its main thread's namespace; a thread's own id names the thread's.
fn pid_of_thread() -> i32 {
    nix::unistd::gettid().as_raw()
}

fn index(interface: &str) -> u32 {
    nix::net::if_::if_nametoindex(interface).unwrap()
}

#[test]
fn a_machine_behind_a_bridge_reaches_the_cluster() {
    both(|site| {
        let machine = Machine::behind_bridge(site);
        machine.run(|| exchange(&[V4, V6]));
    });
}

/// Everything an app can do, from wherever this is called.
pub(crate) fn exchange(with: &[&str]) {
    for ip in with {
        let mut stream = TcpStream::connect(at(ip, ECHO)).unwrap();
        echoes(&mut stream, &vec![1; 1 << 20]);
        let mut stream = TcpStream::connect(at(ip, COUNT)).unwrap();
        stream.write_all(&[2; 100_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "100000");
        let errno = |port| TcpStream::connect(at(ip, port)).unwrap_err().raw_os_error();
        assert_eq!(errno(CLOSED), Some(libc::ECONNREFUSED));
        assert_eq!(errno(HOST_ABSENT), Some(libc::EHOSTUNREACH));
        let socket = udp::connected(ip, ECHO);
        udp::echoes(&socket, b"one");
        udp::echoes(&socket, &vec![3; 1400]);
    }
}

#[test]
fn a_masqueraded_machine_reaches_the_cluster() {
    both(|site| {
        let machine = Machine::behind_bridge(site);
        masquerade();
        machine.run(|| {
            echoes(&mut TcpStream::connect(at(V4, ECHO)).unwrap(), &vec![1; 1 << 20]);
            udp::echoes(&udp::connected(V4, ECHO), b"masqueraded");
        });
    });
}

/// As container engines do it: what leaves the bridge has the address of the interface that it leaves by.
pub(crate) fn masquerade() {
    sh("nft add table inet nat
        nft 'add chain inet nat post { type nat hook postrouting priority srcnat; }'
        nft add rule inet nat post ip saddr 172.30.0.0/16 masquerade
        nft add rule inet nat post ip6 saddr fd30::/16 masquerade");
}

pub(crate) fn raw_socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW))).unwrap();
    socket.set_header_included_v4(true).unwrap();
    socket
}

/// A TCP fast open attempt: no plain SYN, so the kernel program cannot turn it into a RST. The kernel fills the IP
/// checksum in; nobody who refuses it looks at TCP's.
pub(crate) fn syn_with_data(from: &SocketAddr, to: &SocketAddr) -> Vec<u8> {
    let (SocketAddr::V4(source), SocketAddr::V4(dest)) = (from, to) else { panic!("IPv4 only") };
    let mut packet = vec![0x45, 0, 0, 45, 0, 1, 0, 0, 64, 6, 0, 0];
    packet.extend(source.ip().octets());
    packet.extend(dest.ip().octets());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend([0, 0, 0, 9, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend(b"hello");
    packet
}
