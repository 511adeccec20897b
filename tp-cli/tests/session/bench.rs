//! What `tp bench` says when it cannot measure.

use crate::cases::snapshot;
use crate::netns::Place;

pub(crate) const CASES: &[(&str, fn())] = &[
    ("bench_without_a_connection", without_a_connection),
    ("bench_of_a_manager_without_a_sink", without_a_sink),
    ("bench_that_cannot_be", wrong),
];

fn without_a_connection() {
    let place = Place::new();
    snapshot("bench_none", &place.run(&["bench"]));
    snapshot("bench_refused", &place.run(&["bench", "--sink", "127.0.0.1:1"]));
    snapshot("bench_address_refused", &place.run(&["bench", "--address", "127.0.0.1:1", "--seconds", "0.1"]));
}

fn without_a_sink() {
    let place = Place::new();
    place.connect();
    snapshot("bench_no_sink", &place.run(&["bench"]));
}

fn wrong() {
    let place = Place::new();
    let address = ["bench", "--address", "127.0.0.1:1"];
    snapshot("bench_wrong_case", &place.run(&["bench", "--case", "up"]));
    snapshot("bench_wrong_target", &place.run(&["bench", "--sink", "nowhere"]));
    snapshot("bench_case_needs_a_sink", &place.run(&[&address[..], &["--case", "upload-8"]].concat()));
    snapshot("bench_case_needs_a_name", &place.run(&[&address[..], &["--case", "dns"]].concat()));
}
