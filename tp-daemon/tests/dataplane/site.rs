//! A workstation for one test: a network namespace with a dataplane in it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use tokio::runtime::Runtime;
use tp_daemon::dataplane::{AnyDataplane, Choice, Dataplane, Options, Reach, Segments, prepare};

use crate::far_end::{self, Events};
use crate::namespace::in_namespace;

/// Addresses routed to the TUN in every test.
pub(crate) const NETWORKS: [&str; 2] = ["10.96.0.0/16", "fd96::/16"];
pub(crate) const V4: &str = "10.96.0.5";
pub(crate) const V6: &str = "fd96::5";

pub(crate) const USERSPACE: Choice = Choice::Userspace(Segments::LARGE);
pub(crate) const USERSPACE_1500: Choice = Choice::Userspace(Segments::ETHERNET);

pub(crate) struct Site {
    pub(crate) dataplane: AnyDataplane,
    pub(crate) events: Arc<Events>,
    pub(crate) runtime: Runtime,
}

/// Runs a test in a fresh namespace with a dataplane and the far end of [`far_end::serve`].
pub(crate) fn site(test: impl FnOnce(&Site) + Send + 'static) {
    site_with(options(), test);
}

pub(crate) fn site_with(options: Options, test: impl FnOnce(&Site) + Send + 'static) {
    site_of(Choice::Ebpf, options, test);
}

/// The same with the dataplane in user space.
pub(crate) fn userspace_site(test: impl FnOnce(&Site) + Send + 'static) {
    site_of(USERSPACE, options(), test);
}

/// With either size of its segments.
pub(crate) fn userspace_sites(test: impl FnOnce(&Site) + Clone + Send + 'static) {
    for choice in [USERSPACE, USERSPACE_1500] {
        site_of(choice, options(), test.clone());
    }
}

/// The same test with one after the other: what holds for every dataplane, whatever the size of its segments.
pub(crate) fn both(test: impl FnOnce(&Site) + Clone + Send + 'static) {
    for choice in [Choice::Ebpf, USERSPACE, USERSPACE_1500] {
        site_of(choice, options(), test.clone());
    }
}

pub(crate) fn site_of(choice: Choice, options: Options, test: impl FnOnce(&Site) + Send + 'static) {
    in_namespace(move || {
        let site = Site::start(choice, &options);
        site.runtime.spawn(far_end::serve(site.dataplane.clone(), Arc::clone(&site.events)));
        test(&site);
    });
}

/// The same for a test that brings a far end of its own.
pub(crate) fn site_alone(test: impl FnOnce(&Site) + Send + 'static) {
    in_namespace(move || test(&Site::start(Choice::Ebpf, &options())));
}

pub(crate) fn options() -> Options {
    Options {
        tun_v4: "198.18.84.113/30".parse().unwrap(),
        dns_v4: "198.18.84.114".parse().unwrap(),
        v6: Some(("fd74:7074::1/126".parse().unwrap(), "fd74:7074::2".parse().unwrap())),
        udp: tp_core::udp_flows::Limits::default(),
        kernel_log_level: 0,
    }
}

impl Site {
    fn start(choice: Choice, options: &Options) -> Self {
        let prepared = prepare(choice, options).unwrap_or_else(|error| panic!("{error}"));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let events = Arc::new(Events::default());
        let dataplane = runtime.block_on(async {
            let dataplane = prepared.start().unwrap();
            let networks: Vec<IpNet> = NETWORKS.iter().map(|network| network.parse().unwrap()).collect();
            dataplane.set_reach(&Reach::networks(&networks)).await.unwrap();
            dataplane
        });
        Self { dataplane, events, runtime }
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters(self.dataplane.counters().into_iter().collect())
    }
}

/// Counters by name. What never moved is not in there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    /// The names of those that moved since `before`, without the chatter a host makes by itself.
    pub(crate) fn moved_since(&self, before: &Self) -> Vec<&'static str> {
        let moved = self.0.iter().filter(|(name, now)| before.0.get(*name).copied().unwrap_or(0) < **now);
        moved.map(|(name, _)| *name).filter(|name| !CHATTER.contains(name)).collect()
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

/// IPv6 announces itself whenever it likes.
const CHATTER: [&str; 2] = ["from_app.multicast_dropped", "from_listener.noise_dropped"];

/// `ip:port` of either family.
pub(crate) fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port)
}

/// Sends a text and expects it back.
/// Reads while it writes: the buffers of the way need not hold all of the text.
pub(crate) fn echoes(stream: &mut TcpStream, text: &[u8]) {
    let mut answer = vec![0; text.len()];
    let mut writer = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || writer.write_all(text).unwrap());
        stream.read_exact(&mut answer).unwrap();
    });
    assert_eq!(answer, text);
}

pub(crate) fn sh(command: &str) {
    let status = Command::new("sh").arg("-ec").arg(command).status().unwrap();
    assert!(status.success(), "{command}: {status}");
}

/// Waits for something that comes soon, e.g. a task that ends after its socket has.
pub(crate) fn eventually(what: &str, mut true_now: impl FnMut() -> bool) {
    for _ in 0..500 {
        if true_now() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("never happened: {what}");
}
