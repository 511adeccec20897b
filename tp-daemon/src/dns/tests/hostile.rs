//! Whatever bytes come as a query, from the machine's own server or from the manager: an answer or none, never a panic.

use proptest::prelude::*;
use tp_core::addr::AppAddr;
use tp_core::dns::rtype;
use tp_core::flow::Proto;

use super::cluster;
use super::fakes::{Bench, Own, message};
use crate::dns::Answer;
use crate::dns::respond::Query;

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test);
}

async fn ask(bench: &Bench, message: &[u8], proto: Proto) {
    let responder = &bench.handle.inner.responder;
    if let Some(verdict) = responder.judge(message) {
        let query = Query { message, app: AppAddr::new([127, 0, 0, 1], 4711), proto };
        let response = responder.respond(query, verdict).await;
        assert!(response.len() >= 12 && response[2] & 0x80 != 0, "{response:02x?}");
    }
}

/// A valid query for a name of that kind, with a few bytes changed and the end cut off.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let names =
        ["echo", "echo.blue", "db-0.db", "www.example.com", "x.cluster.local", "7.0.96.10.in-addr.arpa"];
    let flips = proptest::collection::vec((0usize..80, any::<u8>()), 0..5);
    (0..names.len(), any::<bool>(), flips, 0usize..20).prop_map(move |(name, edns, flips, cut)| {
        let mut query = message::query(names[name], rtype::A);
        if edns {
            query = message::with_edns(query);
        }
        for (at, byte) in flips {
            if let Some(slot) = query.get_mut(at) {
                *slot = byte;
            }
        }
        query.truncate(query.len() - cut.min(query.len()));
        query
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn queries(arbitrary in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 8), mutated in proptest::collection::vec(mutated(), 8)) {
        run(async {
            let own = Own::answering(|query| Some(message::reply(query, 3))).await;
            let bench = Bench::start(cluster(), own).await;
            for message in arbitrary.iter().chain(&mutated) {
                ask(&bench, message, Proto::Udp).await;
                ask(&bench, message, Proto::Tcp).await;
            }
        });
    }

    #[test]
    fn answers_of_the_manager(rcode in any::<i32>(), mut records in proptest::collection::vec(any::<u8>(), 0..60), valid in any::<bool>()) {
        run(async {
            let bench = Bench::start(cluster(), Own::silent().await).await;
            if valid {
                let name = "x.cluster.local.";
                records = [super::records(name, &["10.0.0.1"]).to_vec(), records].concat();
            }
            bench.cluster.says("x.cluster.local.", rtype::A, Ok(Answer { rcode: rcode % 20, records: records.into() }));
            ask(&bench, &message::query("x.cluster.local", rtype::A), Proto::Udp).await;
        });
    }

    #[test]
    fn answers_of_the_machines_own_server(tail in proptest::collection::vec(any::<u8>(), 0..60), id in any::<bool>()) {
        run(async {
            let own = Own::sending(move |query| {
                let mut answer = tail.clone();
                if id && answer.len() > 3 {
                    answer[..2].copy_from_slice(&query[..2]);
                    answer[2] |= 0x80;
                }
                vec![answer, [message::reply(query, 0), tail.clone()].concat()]
            }).await;
            let bench = Bench::start(cluster(), own).await;
            for name in ["www.example.com", "db-0.db", "nas"] {
                ask(&bench, &message::query(name, rtype::A), Proto::Udp).await;
                ask(&bench, &message::query(name, rtype::A), Proto::Tcp).await;
            }
        });
    }
}
