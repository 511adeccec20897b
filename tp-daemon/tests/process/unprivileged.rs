//! After the set-up, CAP_NET_ADMIN is enough for everything that changes while a connection stands.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tp_core::invoker::Account;
use tp_core::vips::Change;
use tp_daemon::dataplane::{Dataplane, Reach, setup};
use tp_daemon::privileges;

use crate::far_end::{self, ECHO, Events};
use crate::{options, output};

pub(crate) const ROLE: &str = "as-the-user";

pub(crate) fn run() {
    let prepared = setup(&options()).unwrap_or_else(|error| panic!("{error}"));
    let [name, home, shell] = ["nobody", "/", "/bin/sh"].map(str::to_owned);
    let nobody = Account { uid: 65_534, gid: 65_534, name, home, shell };
    privileges::drop_to(&nobody, |work| prepared.in_namespace_thread(work)?).unwrap();
    assert_dropped(&nobody);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let dataplane = prepared.start().unwrap();
        tokio::spawn(far_end::serve(dataplane.clone(), Arc::new(Events::default())));
        let networks = |texts: &[&str]| {
            let networks: Vec<IpNet> = texts.iter().map(|text| text.parse().unwrap()).collect();
            Reach::networks(&networks)
        };
        dataplane.set_reach(&networks(&["10.96.0.0/16", "fd96::/16"])).await.unwrap();
        tcp("10.96.0.1");
        tcp("fd96::1");
        udp("10.96.0.1"); // ports below 1024 too

        // Live: one goes, one stays, one comes.
        dataplane.set_reach(&networks(&["10.97.0.0/16", "fd96::/16"])).await.unwrap();
        tcp("10.97.0.1");
        tcp("fd96::1");
        assert_eq!(
            TcpStream::connect(("10.96.0.1", ECHO)).unwrap_err().raw_os_error(),
            Some(libc::ENETUNREACH)
        );

        let mut hidden = networks(&["10.97.0.0/16"]);
        hidden.virtual_subnets = networks(&["10.99.0.0/16"]).routed;
        hidden.inside = vec!["10.98.0.0/16".parse().unwrap()];
        dataplane.set_reach(&hidden).await.unwrap();
        let vip = [10, 99, 0, 1].into();
        dataplane.change_vips(&[Change::Add { vip, inside: [10, 98, 0, 1].into() }]).unwrap();
        tcp("10.99.0.1");
        udp("10.99.0.1");
        dataplane.set_node_side(&[1]).unwrap();
        dataplane.set_recursion_block(Duration::from_secs(1)).unwrap();
        dataplane.attach_dns_hooks().unwrap();
        dataplane.detach_dns_hooks();
        dataplane.attach_dns_hooks().unwrap();
        assert_eq!(dataplane.dump(None).unwrap().len(), 8);
        dataplane.change_vips(&[Change::Remove { vip }]).unwrap();
        dataplane.set_reach(&Reach::default()).await.unwrap();
        let left = output("ip route; ip -6 route");
        assert!(!["10.9", "fd96"].iter().any(|network| left.contains(network)), "{left}");
    });
}

fn assert_dropped(account: &Account) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    assert!(status.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}", account.uid)), "{status}");
    assert!(status.contains("CapEff:\t0000000000001000"), "{status}"); // CAP_NET_ADMIN is bit 12
}

fn tcp(ip: &str) {
    let mut stream = TcpStream::connect((ip, ECHO)).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
}

fn udp(ip: &str) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect((ip, ECHO)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for text in [b"first", b"again"] {
        socket.send(text).unwrap();
        let mut answer = [0; 9];
        let n = socket.recv(&mut answer).unwrap();
        assert_eq!(&answer[..n], text);
    }
}
