//! Names that the user's configuration treats on their own.

use std::sync::Arc;
use std::time::Duration;

use tp_core::dns::message::{NOERROR, SERVFAIL};
use tp_core::dns::{DnsConfig, Mapping, Name, Target};

use crate::dns::lookups::{Authority, Lookups};

use super::fakes::{Bench, Cluster, Own, message, records};
use super::{cluster, config};

fn mapping(name: &str, target: &str) -> Mapping {
    let target = match target.parse() {
        Ok(ip) => Target::Address(ip),
        Err(_) => Target::Name(Name::parse(target).unwrap()),
    };
    Mapping { name: Name::parse(name).unwrap(), target }
}

#[tokio::test]
async fn a_name_stands_for_an_address() {
    let bench = Bench::start(cluster(), Own::silent().await).await;
    let mappings = vec![mapping("db", "10.1.2.3"), mapping("hidden.example.com", "10.77.0.9")];
    bench.handle.updater().update(DnsConfig { mappings, ..config() }).await;
    assert_eq!(message::addresses(&bench.udp(&message::query("DB", 1)).await), ["10.1.2.3"]);
    let other_family = bench.udp(&message::query("db", 28)).await;
    assert_eq!((message::code(&other_family), message::addresses(&other_family)), (0, Vec::new()));
    let hidden = bench.tcp(&message::query("hidden.example.com", 1)).await;
    assert_eq!(message::addresses(&hidden), ["240.77.0.9"], "its network is behind virtual addresses");
    assert_eq!(bench.cluster.asked(), 0);
}

#[tokio::test]
async fn a_name_stands_for_another_name_of_the_cluster() {
    let bench = Bench::start(cluster(), Own::silent().await).await;
    let mappings =
        vec![mapping("api.example.com", "echo.blue"), mapping("nothing.example.com", "absent.blue")];
    bench.handle.updater().update(DnsConfig { mappings, ..config() }).await;
    let answer = bench.udp(&message::query("api.example.com", 1)).await;
    assert_eq!(message::addresses(&answer), ["10.96.0.7"]);
    let answers = message::parse(&answer).answers;
    assert_eq!(answers[0].name.to_string(), "api.example.com.");
    assert_eq!(answers[0].data.to_string(), "echo.blue.", "an alias, as the cluster itself would tell it");
    assert_eq!(message::code(&bench.udp(&message::query("nothing.example.com", 1)).await), 3);
}

#[tokio::test]
async fn excluded_names_are_the_machines_own() {
    let own = Own::answering(|query| Some(message::answer(query, [192, 0, 2, 1]))).await;
    let bench = Bench::start(cluster(), own).await;
    assert_eq!(message::addresses(&bench.udp(&message::query("echo.blue", 1)).await), ["10.96.0.7"]);
    let excludes = vec!["echo".to_owned()];
    bench.handle.updater().update(DnsConfig { excludes, ..config() }).await;
    let asked = bench.cluster.asked();
    for name in ["echo", "echo.blue", "echo.blue.svc.cluster.local"] {
        assert_eq!(message::addresses(&bench.udp(&message::query(name, 1)).await), ["192.0.2.1"], "{name}");
    }
    assert_eq!(bench.cluster.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn the_cluster_may_take_as_long_as_configured() {
    let cluster = Cluster::default();
    cluster.knows("slow.blue.", 1, records("slow.blue.", &["10.1.1.1"]));
    cluster.answers_after(Duration::from_secs(9));
    let lookups = Lookups::new(Arc::new(cluster));
    let name = Name::parse("slow.blue").unwrap();
    for (patience, rcode) in [(1, SERVFAIL), (10, NOERROR)] {
        lookups.start_again(Duration::from_secs(patience));
        assert_eq!(lookups.find(&name, 1, Authority::Cluster).await.rcode, rcode, "{patience} s");
    }
}
