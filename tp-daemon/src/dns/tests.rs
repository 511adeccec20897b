//! The server over real sockets, with a cluster and a machine's own server that the test makes up.

mod cluster_names;
mod configured_names;
mod fakes;
mod hostile;
mod other_names;
mod over_tcp;
mod virtual_addresses;

use tp_core::dns::{DnsConfig, rtype};

use fakes::{Bench, Cluster, Own, message, records};

pub(super) fn config() -> DnsConfig {
    DnsConfig {
        cluster_domain: "cluster.local".to_owned(),
        namespace: "default".to_owned(),
        namespaces: vec!["default".to_owned(), "blue".to_owned()],
        subnets: vec!["10.96.0.0/12".parse().unwrap(), "240.77.0.0/16".parse().unwrap()],
        ..DnsConfig::default()
    }
}

/// `echo` and `echo.blue` in all their spellings.
pub(super) fn cluster() -> Cluster {
    let cluster = Cluster::default();
    for name in ["echo.", "echo.blue.", "echo.default.svc.cluster.local.", "db-0.db."] {
        cluster.knows(name, rtype::A, records(name, &["10.96.0.7"]));
        cluster.knows(name, rtype::AAAA, records(name, &[]));
    }
    cluster
}

#[tokio::test]
async fn hooks_are_attached_only_while_the_server_serves() {
    let bench = Bench::start(cluster(), Own::silent().await).await;
    assert_eq!(bench.hooks(), "attached");
    assert_eq!(bench.handle.status().mode, "socket hooks");
    let plane = bench.plane.clone();
    bench.handle.stop().await;
    assert_eq!(plane.hooks(), "detached");

    let bench = Bench::start(cluster(), Own::silent().await).await;
    let plane = bench.plane.clone();
    drop(bench);
    assert_eq!(plane.hooks(), "detached");
}

#[tokio::test]
async fn a_new_configuration_holds_for_the_next_query() {
    let own = Own::answering(|query| Some(message::reply(query, 3))).await;
    let bench = Bench::start(cluster(), own).await;
    assert_eq!(message::addresses(&bench.udp(&message::query("echo.blue", rtype::A)).await), ["10.96.0.7"]);
    bench.cluster.knows("echo.blue.", rtype::A, records("echo.blue.", &["10.96.0.8"]));
    assert_eq!(message::addresses(&bench.udp(&message::query("echo.blue", rtype::A)).await), ["10.96.0.7"]);
    let other = DnsConfig { cluster_domain: "k8s.test".to_owned(), ..config() };
    bench.handle.updater().update(other).await;
    assert_eq!(message::addresses(&bench.udp(&message::query("echo.blue", rtype::A)).await), ["10.96.0.8"]);
    let status = bench.handle.status();
    assert_eq!(status.cluster_domain, "k8s.test");
    assert_eq!(status.suffixes, ["blue", "default", "svc"]);
}
