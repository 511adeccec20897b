//! Several queries, and several answers, on one connection.

use tokio::io::AsyncWriteExt;
use tp_core::dns::rtype;

use super::cluster;
use super::fakes::{Bench, Own, message};
use crate::dns::upstream::{read_message, write_message};

#[tokio::test]
async fn a_whole_zone_is_passed_on_message_by_message() {
    let zone = |query: &[u8]| (1..=20).map(|n| message::answer(query, [192, 0, 2, n])).collect();
    let bench = Bench::start(cluster(), Own::sending(zone).await).await;
    let mut stream = bench.connect().await;
    write_message(&mut stream, &message::query("example.com", 252)).await.unwrap();
    for n in 1..=20 {
        let response = read_message(&mut stream).await.unwrap().unwrap();
        assert_eq!(message::addresses(&response), [format!("192.0.2.{n}")]);
    }
}

#[tokio::test]
async fn names_of_all_kinds_share_a_connection() {
    let bench =
        Bench::start(cluster(), Own::answering(|query| Some(message::answer(query, [192, 0, 2, 1]))).await)
            .await;
    let mut stream = bench.connect().await;
    let names =
        ["www.example.com", "echo", "nas", "www.example.org", "echo.default.svc.cluster.local", "db-0.db"];
    for (id, name) in (0u8..).zip(names) {
        let mut query = message::query(name, rtype::A);
        query[..2].copy_from_slice(&[0, id]);
        write_message(&mut stream, &query).await.unwrap();
    }
    // a client that has no more queries still gets its answers
    stream.shutdown().await.unwrap();
    let mut answers = std::collections::BTreeMap::new();
    while let Some(response) = read_message(&mut stream).await.unwrap() {
        answers.insert(names[usize::from(response[1])], message::addresses(&response).concat());
    }
    let own = "192.0.2.1".to_owned();
    let cluster = "10.96.0.7".to_owned();
    let expected = [
        ("www.example.com", own.clone()),
        ("echo", cluster.clone()),
        ("nas", own.clone()),
        ("www.example.org", own.clone()),
        ("echo.default.svc.cluster.local", cluster),
        ("db-0.db", own),
    ];
    assert_eq!(answers, expected.into());
}

#[tokio::test]
async fn half_a_message_harms_nobody() {
    let bench = Bench::start(cluster(), Own::silent().await).await;
    let mut broken = bench.connect().await;
    broken.write_all(&[0, 200, 1, 2, 3]).await.unwrap();
    drop(broken);
    let mut empty = bench.connect().await;
    write_message(&mut empty, &[]).await.unwrap();
    assert_eq!(read_message(&mut empty).await.unwrap(), None, "no request: closed");
    assert_eq!(message::addresses(&bench.tcp(&message::query("echo", rtype::A)).await), ["10.96.0.7"]);
}
