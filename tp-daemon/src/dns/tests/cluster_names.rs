//! Names of the cluster.

use std::time::Duration;

use bytes::Bytes;
use tp_core::dns::rtype;

use super::fakes::{Bench, Own, message, records};
use super::{cluster, config};
use crate::dns::{Answer, LookupError};

const ECHO: &str = "echo.default.svc.cluster.local";

async fn bench() -> Bench {
    Bench::start(cluster(), Own::answering(|query| Some(message::reply(query, 3))).await).await
}

#[tokio::test]
async fn addresses_come_from_the_manager_with_a_short_life_and_in_the_clients_case() {
    let bench = bench().await;
    for name in ["echo", "echo.blue", "eChO.default.svc.cluster.LOCAL"] {
        for response in [
            bench.udp(&message::query(name, rtype::A)).await,
            bench.tcp(&message::query(name, rtype::A)).await,
        ] {
            assert_eq!(message::addresses(&response), ["10.96.0.7"], "{name}");
            let answer = &message::parse(&response).answers[0];
            assert_eq!((answer.name.to_string(), answer.ttl), (format!("{name}."), 4));
        }
    }
    assert!(bench.own.heard().is_empty(), "nobody else heard of them");
}

#[tokio::test]
async fn a_name_without_records_of_a_type_exists() {
    let bench = bench().await;
    for (name, rtype) in
        [(ECHO, rtype::AAAA), ("echo", rtype::AAAA), (ECHO, rtype::HTTPS), ("echo", 64), (ECHO, 99)]
    {
        let response = bench.udp(&message::query(name, rtype)).await;
        assert_eq!(
            (message::code(&response), message::parse(&response).answers.len()),
            (0, 0),
            "{name} {rtype}"
        );
    }
    assert!(bench.own.heard().is_empty());
}

#[tokio::test]
async fn one_address_family_that_does_not_exist_does_not_hide_the_other() {
    let bench = bench().await;
    bench.cluster.says(
        "v4.default.svc.cluster.local.",
        rtype::AAAA,
        Ok(Answer { rcode: 3, records: Bytes::new() }),
    );
    let name = "v4.default.svc.cluster.local.";
    bench.cluster.knows(name, rtype::A, records(name, &["10.96.0.9"]));
    let response = bench.udp(&message::query("v4.default.svc.cluster.local", rtype::AAAA)).await;
    assert_eq!(message::code(&response), 0);
}

#[tokio::test]
async fn names_that_do_not_exist_do_not() {
    let bench = bench().await;
    for (name, rtype) in [("none.default.svc.cluster.local", rtype::A), ("none.cluster.local", rtype::HTTPS)]
    {
        assert_eq!(message::code(&bench.udp(&message::query(name, rtype)).await), 3, "{name}");
    }
    assert_eq!(
        message::code(&bench.udp(&message::query("wpad.default.svc.cluster.local", rtype::A)).await),
        3
    );
    assert!(bench.own.heard().is_empty());
}

#[tokio::test]
async fn addresses_in_the_clusters_networks_have_names() {
    let bench = bench().await;
    let name = "7.0.96.10.in-addr.arpa.";
    // PTR echo.
    let mut record = records(name, &["1.2.3.4"]).to_vec();
    let len = record.len();
    record[len - 13] = 12;
    record.truncate(len - 6);
    record.extend([0, 6, 4, b'e', b'c', b'h', b'o', 0]);
    bench.cluster.knows(name, rtype::PTR, record.into());
    let response = bench.udp(&message::query("7.0.96.10.in-addr.arpa", rtype::PTR)).await;
    assert_eq!(message::parse(&response).answers[0].data.to_string(), "echo.");
}

#[tokio::test]
async fn many_apps_that_ask_the_same_ask_the_manager_once() {
    let bench = bench().await;
    bench.cluster.answers_after(Duration::from_millis(100));
    let query = message::query(ECHO, rtype::A);
    let all = futures_util::future::join_all((0..50).map(|_| bench.udp(&query))).await;
    assert!(all.iter().all(|response| message::addresses(response) == ["10.96.0.7"]));
    bench.udp(&query).await;
    assert_eq!(bench.cluster.asked(), 1);
}

#[tokio::test]
async fn an_app_that_gives_up_does_not_take_the_others_with_it() {
    let bench = bench().await;
    bench.cluster.answers_after(Duration::from_millis(100));
    let lookups = &bench.handle.inner.responder.zone;
    let app = tp_core::addr::AppAddr::new([127, 0, 0, 1], 1);
    let query = message::query(ECHO, rtype::A);
    let first = tokio::time::timeout(
        Duration::from_millis(20),
        lookups.answer(&query, app, tp_core::flow::Proto::Udp),
    );
    let (gave_up, answered) = tokio::join!(first, bench.udp(&query));
    assert!(gave_up.is_err());
    assert_eq!(message::addresses(&answered), ["10.96.0.7"]);
}

#[tokio::test]
async fn a_manager_that_fails_or_talks_nonsense_is_a_server_failure() {
    let bench = bench().await;
    let name = "sick.default.svc.cluster.local";
    let query = message::query(name, rtype::A);
    let sayings = [
        Err(LookupError::Unreachable),
        Err(LookupError::Failed("out of order".to_owned())),
        Ok(Answer { rcode: 0, records: Bytes::from_static(b"\x04echo") }),
        Ok(Answer { rcode: 0, records: Bytes::from_static(&[0xff; 40]) }),
        Ok(Answer { rcode: -1, records: Bytes::new() }),
        Ok(Answer { rcode: 4000, records: Bytes::new() }),
    ];
    for says in sayings {
        bench.cluster.says(&format!("{name}."), rtype::A, says.clone());
        assert_eq!(message::code(&bench.udp(&query).await), 2, "{says:?}");
    }
    bench.cluster.knows(&format!("{name}."), rtype::A, records(&format!("{name}."), &["10.96.0.1"]));
    assert_eq!(message::addresses(&bench.udp(&query).await), ["10.96.0.1"], "failures are not remembered");
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_does_not_answer_is_a_server_failure_in_time() {
    let bench = bench().await;
    bench.cluster.answers_after(Duration::from_secs(3600));
    assert_eq!(message::code(&bench.udp(&message::query(ECHO, rtype::A)).await), 2);
}

#[tokio::test]
async fn answers_that_do_not_fit_are_truncated_and_whole_over_tcp() {
    let bench = bench().await;
    let name = "many.default.svc.cluster.local";
    let addresses: Vec<String> = (1..=100).map(|n| format!("10.97.0.{n}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    bench.cluster.knows(&format!("{name}."), rtype::A, records(&format!("{name}."), &addresses));
    let query = message::query(name, rtype::A);
    let small = bench.udp(&query).await;
    assert!(small.len() <= 512 && message::parse(&small).metadata.truncation, "{}", small.len());
    let with_edns = bench.udp(&message::with_edns(query.clone())).await;
    assert_eq!(message::addresses(&with_edns).len(), 100);
    let edns = message::parse(&with_edns).edns.unwrap();
    assert!(edns.flags().dnssec_ok && edns.version() == 0);
    assert_eq!(message::addresses(&bench.tcp(&query).await), addresses);
}

#[tokio::test]
async fn an_unknown_version_of_edns_is_refused_as_the_rfc_says() {
    let bench = bench().await;
    let mut query = message::with_edns(message::query(ECHO, rtype::A));
    let version = query.len() - 11;
    query[version] = 1;
    assert_eq!(message::code(&bench.udp(&query).await), 16);
}

#[test]
fn the_clusters_domain_is_the_tests() {
    assert!(ECHO.ends_with(&config().cluster_domain));
}
