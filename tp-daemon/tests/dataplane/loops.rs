//! A cluster in a virtual machine on this very workstation: the seeds' recursion storm, and what stops it.
//!
//! The far end stands for a node in the machine. Nothing listens at the address that it is asked to dial, so the node's
//! own routes decide: they lead back to the workstation, where the address is routed into the tunnel once more.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tp_core::dial::DialError;
use tp_daemon::dataplane::{Arrival, Dataplane};

use crate::far_end::ECHO;
use crate::forwarded::{Machine, masquerade};
use crate::site::{Site, V4, V6, at, site_alone};

/// Nothing listens there.
const NOBODY: u16 = 81;
/// The test ends the storm after so many rounds; by itself it would not.
const ENOUGH: u64 = 40;

struct Storm {
    vm: Arc<Machine>,
    asked: Arc<AtomicU64>,
}

impl Storm {
    fn brew(site: &Site) -> Self {
        let storm = Self { vm: Arc::new(Machine::behind_bridge(site)), asked: Arc::default() };
        site.runtime.spawn(node(site.dataplane.clone(), Arc::clone(&storm.vm), Arc::clone(&storm.asked)));
        storm
    }

    /// How often the node was asked to dial for one connect of an app.
    fn dials_for_one_connect(&self, ip: &str) -> u64 {
        let before = self.asked.load(Ordering::SeqCst);
        let error = TcpStream::connect(at(ip, NOBODY)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error:?}");
        self.asked.load(Ordering::SeqCst) - before
    }

    fn dials_for_one_datagram(&self, ip: &str) -> u64 {
        let before = self.asked.load(Ordering::SeqCst);
        let socket = crate::udp::connected(ip, NOBODY);
        socket.send(b"anyone?").unwrap();
        assert_eq!(socket.recv(&mut [0; 10]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        self.asked.load(Ordering::SeqCst) - before
    }
}

/// A node of the cluster: has an echo service, and routes everything else as its machine does.
async fn node(dataplane: impl Dataplane, vm: Arc<Machine>, asked: Arc<AtomicU64>) {
    while let Some(arrival) = dataplane.next().await {
        let (vm, asked) = (Arc::clone(&vm), Arc::clone(&asked));
        tokio::spawn(async move {
            let to = match &arrival {
                Arrival::Tcp(held) => held.cluster().0,
                Arrival::Udp(held) => held.cluster().0,
            };
            if to.port() == ECHO {
                return echo(arrival).await;
            }
            let tcp = matches!(arrival, Arrival::Tcp(_));
            let enough = asked.fetch_add(1, Ordering::SeqCst) >= ENOUGH;
            let dial = move || vm.run(|| if tcp { dial_tcp(to) } else { dial_udp(to) });
            let error = if enough {
                ErrorKind::ConnectionRefused
            } else {
                tokio::task::spawn_blocking(dial).await.unwrap()
            };
            let cause = DialError::from_io(&error.into());
            match arrival {
                Arrival::Tcp(held) => held.refuse(cause),
                Arrival::Udp(held) => held.refuse(cause),
            }
        });
    }
}

fn dial_tcp(to: SocketAddr) -> ErrorKind {
    TcpStream::connect_timeout(&to, Duration::from_secs(20)).unwrap_err().kind()
}

fn dial_udp(to: SocketAddr) -> ErrorKind {
    let socket = UdpSocket::bind(at(if to.is_ipv4() { "0.0.0.0" } else { "::" }, 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.send(b"anyone?").unwrap();
    socket.recv(&mut [0; 10]).unwrap_err().kind()
}

async fn echo(arrival: Arrival) {
    let Arrival::Tcp(held) = arrival else { return };
    let stream = held.admit().await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    tokio::io::copy(&mut read, &mut write).await.unwrap();
}

/// What a container does that uses the workstation's routes on purpose.
fn container_works(container: &Machine) {
    container.run(|| {
        for ip in [V4, V6] {
            let mut stream = TcpStream::connect(at(ip, ECHO)).unwrap();
            stream.write_all(b"from a container").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "from a container");
        }
    });
}

#[test]
fn with_the_guard_off_a_connect_goes_round_and_round() {
    site_alone(|site| {
        let storm = Storm::brew(site);
        assert!(storm.dials_for_one_connect(V4) > ENOUGH, "every round asked for the next");
        assert_eq!(site.counters().get("from_app.node_side_refused"), 0);
        assert_eq!(site.counters().get("from_app.recursion_refused"), 0);
    });
}

#[test]
fn the_guard_on_the_nodes_side_lets_no_syn_loop() {
    site_alone(|site| {
        let storm = Storm::brew(site);
        let container = Machine::behind(site, 1);
        site.dataplane.set_node_side(&[storm.vm.bridge_index]).unwrap();
        for masqueraded in [false, true] {
            if masqueraded {
                masquerade();
            }
            for ip in [V4, V6] {
                let before = site.counters().get("from_app.node_side_refused");
                assert_eq!(storm.dials_for_one_connect(ip), 1, "the app's own, and none that looped");
                assert_eq!(site.counters().get("from_app.node_side_refused"), before + 1);
                assert_eq!(storm.dials_for_one_datagram(ip), 1);
            }
            container_works(&container);
        }
        assert_eq!(site.counters().get("from_app.node_side_to_daemon"), 4);
        assert_eq!(site.counters().get("from_app.recursion_refused"), 0);
    });
}

/// The seeds' rule, with the seeds' millisecond: the address is closed for as long as the app's connect waits.
#[test]
fn the_block_duration_lets_no_syn_loop() {
    site_alone(|site| {
        let storm = Storm::brew(site);
        let container = Machine::behind(site, 1);
        site.dataplane.set_recursion_block(Duration::from_millis(1)).unwrap();
        for masqueraded in [false, true] {
            if masqueraded {
                masquerade();
            }
            for ip in [V4, V6] {
                let before = site.counters().get("from_app.recursion_refused");
                assert_eq!(storm.dials_for_one_connect(ip), 1, "the app's own, and none that looped");
                assert_eq!(site.counters().get("from_app.recursion_refused"), before + 1);
                assert_eq!(storm.dials_for_one_connect(ip), 1, "a refusal opens the address at once");
                assert_eq!(storm.dials_for_one_datagram(ip), 1);
            }
            container_works(&container);
        }
        assert_eq!(site.counters().get("from_app.recursion_to_daemon"), 4);
        assert_eq!(site.counters().get("from_app.node_side_refused"), 0);
    });
}
