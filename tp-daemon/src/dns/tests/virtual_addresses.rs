//! Answers whose addresses apps know under virtual ones.

use super::fakes::{Bench, Cluster, Own, message, records};

#[tokio::test]
async fn addresses_of_hidden_networks_are_told_as_virtual_ones() {
    let cluster = Cluster::default();
    cluster.knows(
        "mixed.default.svc.cluster.local.",
        1,
        records("mixed.default.svc.cluster.local.", &["10.77.1.2", "10.1.1.1"]),
    );
    cluster.knows(
        "mixed.default.svc.cluster.local.",
        28,
        records("mixed.default.svc.cluster.local.", &["fd77::5"]),
    );
    let bench = Bench::start(cluster, Own::silent().await).await;
    let answer = bench.udp(&message::query("mixed.default.svc.cluster.local", 1)).await;
    assert_eq!(message::addresses(&answer), ["240.77.1.2", "10.1.1.1"]);
    let answer = bench.tcp(&message::query("mixed.default.svc.cluster.local", 28)).await;
    assert_eq!(message::addresses(&answer), ["fd78::5"]);
}

#[tokio::test]
async fn a_cached_answer_is_told_alike() {
    let cluster = Cluster::default();
    cluster.knows(
        "echo.default.svc.cluster.local.",
        1,
        records("echo.default.svc.cluster.local.", &["10.77.0.1"]),
    );
    let bench = Bench::start(cluster.clone(), Own::silent().await).await;
    for _ in 0..2 {
        let answer = bench.udp(&message::query("echo.default.svc.cluster.local", 1)).await;
        assert_eq!(message::addresses(&answer), ["240.77.0.1"]);
    }
    assert_eq!(cluster.asked(), 1);
}

#[tokio::test]
async fn without_a_virtual_address_left_the_app_gets_a_failure() {
    let cluster = Cluster::default();
    cluster.knows(
        "late.default.svc.cluster.local.",
        1,
        records("late.default.svc.cluster.local.", &["10.78.0.1"]),
    );
    let bench = Bench::start(cluster, Own::silent().await).await;
    let answer = bench.udp(&message::query("late.default.svc.cluster.local", 1)).await;
    assert_eq!(message::code(&answer), 2);
    assert!(message::addresses(&answer).is_empty());
}

#[tokio::test]
async fn a_virtual_address_has_the_reverse_name_of_what_it_stands_for() {
    let cluster = Cluster::default();
    // a PTR record of this name to itself: only the owner is of interest
    let owner = b"\x011\x010\x0277\x0210\x07in-addr\x04arpa\x00";
    let target = b"\x04echo\x07default\x03svc\x07cluster\x05local\x00";
    let mut record = owner.to_vec();
    record.extend([0, 12, 0, 1, 0, 0, 0, 60]);
    record.extend(u16::try_from(target.len()).unwrap().to_be_bytes());
    record.extend(target);
    cluster.knows("1.0.77.10.in-addr.arpa.", 12, record.into());
    let bench = Bench::start(cluster, Own::silent().await).await;
    let answer = message::parse(&bench.udp(&message::query("1.0.77.240.in-addr.arpa", 12)).await);
    let [record] = answer.answers.as_slice() else { panic!("{answer:?}") };
    assert_eq!(record.name.to_string(), "1.0.77.240.in-addr.arpa.");
    assert_eq!(record.data.to_string(), "echo.default.svc.cluster.local.");
}
