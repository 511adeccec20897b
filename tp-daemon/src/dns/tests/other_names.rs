//! Names that are not the cluster's resolve as they did before.

use std::time::Duration;

use tp_core::dns::rtype;

use super::cluster;
use super::fakes::{Bench, Own, message};
use crate::dns::LookupError;

const OWN: [u8; 4] = [192, 0, 2, 1];

async fn bench() -> Bench {
    Bench::start(cluster(), Own::answering(|query| Some(message::answer(query, OWN))).await).await
}

/// But for the id.
fn same(a: &[u8], b: &[u8]) -> bool {
    a[2..] == b[2..]
}

#[tokio::test]
async fn the_very_message_goes_to_the_server_that_was_asked_and_the_very_answer_comes_back() {
    let strange = |query: &[u8]| {
        let mut reply = message::answer(query, OWN);
        reply[3] |= 0x20; // authentic data
        reply.extend(b"whatever is behind it");
        Some(reply)
    };
    let bench = Bench::start(cluster(), Own::answering(strange).await).await;
    let mut checking_disabled = message::with_edns(message::query("www.Example.com", rtype::A));
    checking_disabled[3] |= 0x10;
    let chaos = {
        let mut chaos = message::query("version.bind", 16);
        let class = chaos.len() - 1;
        chaos[class] = 3;
        chaos
    };
    for query in
        [checking_disabled, chaos, message::query("com", 48), message::query("1.0.0.127.in-addr.arpa", 12)]
    {
        for response in [bench.udp(&query).await, bench.tcp(&query).await] {
            let heard = bench.own.heard().pop().unwrap();
            assert!(same(&heard, &query), "asked {query:02x?}, heard {heard:02x?}");
            assert_eq!(response[..2], query[..2], "the client's own id");
            assert!(same(&response, &strange(&heard).unwrap()));
        }
    }
    assert_eq!(bench.cluster.asked(), 0);
}

#[tokio::test]
async fn a_single_label_that_the_cluster_does_not_know_is_the_machines() {
    let bench = bench().await;
    let query = message::query("nas", rtype::A);
    assert_eq!(message::addresses(&bench.udp(&query).await), ["192.0.2.1"]);
    assert_eq!(message::addresses(&bench.tcp(&query).await), ["192.0.2.1"]);
    bench.cluster.says("printer.", rtype::A, Err(LookupError::Unreachable));
    assert_eq!(message::addresses(&bench.udp(&message::query("printer", rtype::A)).await), ["192.0.2.1"]);
}

#[tokio::test]
async fn no_one_knows_it_only_if_both_said_so() {
    let bench = Bench::start(cluster(), Own::answering(|query| Some(message::reply(query, 3))).await).await;
    assert_eq!(message::code(&bench.udp(&message::query("nas", rtype::A)).await), 3);
    bench.cluster.says("sick.", rtype::A, Err(LookupError::Unreachable));
    assert_eq!(message::code(&bench.udp(&message::query("sick", rtype::A)).await), 2);
}

#[tokio::test]
async fn what_the_machines_server_knows_is_never_the_clusters() {
    let bench = bench().await;
    assert_eq!(message::addresses(&bench.udp(&message::query("db-0.db", rtype::A)).await), ["192.0.2.1"]);
    assert_eq!(bench.cluster.asked(), 0);
}

#[tokio::test]
async fn what_it_does_not_know_may_be_the_clusters() {
    for code in [3, 2, 5] {
        let own = Own::answering(move |query| Some(message::reply(query, code))).await;
        let bench = Bench::start(cluster(), own).await;
        for response in [
            bench.udp(&message::query("db-0.db", rtype::A)).await,
            bench.tcp(&message::query("db-0.db", rtype::A)).await,
        ] {
            assert_eq!(message::addresses(&response), ["10.96.0.7"], "code {code}");
        }
        let nobodys = bench.udp(&message::query("x.example.de", rtype::A)).await;
        assert_eq!(message::code(&nobodys), u16::from(code), "the server's own answer");
        let asked = bench.cluster.asked();
        bench.udp(&message::query("x.example.com", rtype::A)).await;
        assert_eq!(bench.cluster.asked(), asked, "the cluster does not hear of public names");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_does_not_keep_the_cluster_from_answering() {
    let bench = Bench::start(cluster(), Own::silent().await).await;
    assert_eq!(message::addresses(&bench.udp(&message::query("db-0.db", rtype::A)).await), ["10.96.0.7"]);
    for name in ["x.example.de", "x.example.com", "nas"] {
        let code = message::code(&bench.udp(&message::query(name, rtype::A)).await);
        assert_eq!(code, if name == "nas" { 3 } else { 2 }, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_cluster_does_not_keep_the_machines_server_from_answering() {
    let bench = bench().await;
    bench.cluster.answers_after(Duration::from_secs(3600));
    assert_eq!(message::addresses(&bench.udp(&message::query("nas", rtype::A)).await), ["192.0.2.1"]);
}

#[tokio::test]
async fn a_server_on_which_nobody_listens_is_a_failure_that_repeats_the_question() {
    let bench = bench().await;
    let closed = tokio::net::UdpSocket::bind("127.0.0.2:0").await.unwrap().local_addr().unwrap();
    bench.plane.apps_ask(Some(closed));
    for query in
        [message::query("www.example.com", rtype::A), message::with_edns(message::query("x.y", rtype::A))]
    {
        for response in [bench.udp(&query).await, bench.tcp(&query).await] {
            assert_eq!(message::code(&response), 2);
            assert_eq!(message::parse(&response).edns.is_some(), query[11] == 1);
        }
    }
    assert_eq!(message::addresses(&bench.udp(&message::query("db-0.db", rtype::A)).await), ["10.96.0.7"]);
}

#[tokio::test]
async fn we_never_ask_ourselves() {
    let bench = bench().await;
    let ourselves = bench.plane.server();
    bench.plane.apps_ask(Some(ourselves));
    assert_eq!(message::code(&bench.udp(&message::query("www.example.com", rtype::A)).await), 2);
    // asked directly, on a machine without a nameserver
    bench.plane.apps_ask(None);
    assert_eq!(message::code(&bench.udp(&message::query("www.example.com", rtype::A)).await), 2);
    assert!(bench.own.heard().is_empty());
}

#[tokio::test]
async fn forged_and_stray_answers_are_not_passed_on() {
    let noisy = |query: &[u8]| {
        let forged = |id: u8, name: &str| {
            let mut forged = message::answer(&message::query(name, rtype::A), [6, 6, 6, 6]);
            forged[0] = query[0];
            forged[1] = query[1] ^ id;
            forged
        };
        let mut a_query = query.to_vec();
        a_query[2] &= 0x7f;
        let right = message::answer(query, OWN);
        vec![forged(1, "www.example.com"), forged(0, "evil.example.com"), a_query, vec![1, 2, 3], right]
    };
    let bench = Bench::start(cluster(), Own::sending(noisy).await).await;
    let query = message::query("www.example.com", rtype::A);
    assert_eq!(message::addresses(&bench.udp(&query).await), ["192.0.2.1"]);
}

#[tokio::test]
async fn ids_are_not_the_clients() {
    let bench = bench().await;
    let query = message::query("www.example.com", rtype::A);
    for _ in 0..8 {
        bench.udp(&query).await;
    }
    let ids: std::collections::BTreeSet<_> =
        bench.own.heard().iter().map(|heard| [heard[0], heard[1]]).collect();
    assert!(ids.len() > 1, "{ids:?}");
}

/// The machine's own server says no, the cluster asks this machine, and so on: it must end, with that no.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_asks_this_machine_is_no_loop() {
    let bench = Bench::start(cluster(), Own::answering(|query| Some(message::reply(query, 3))).await).await;
    bench.cluster.asks_back(bench.plane.server());
    for name in ["nas", "x.example.de", "x.blue"] {
        assert_eq!(message::code(&bench.udp(&message::query(name, rtype::A)).await), 3, "{name}");
    }
    assert_eq!(message::addresses(&bench.udp(&message::query("echo", rtype::A)).await), ["10.96.0.7"]);
}
