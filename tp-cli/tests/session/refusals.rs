//! Who is refused, and how it is said.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::cases::snapshot;
use crate::netns::{NOBODY, Place, STRANGER, URL, squatter};

pub(crate) const CASES: &[(&str, fn())] = &[
    ("without_root", without_root),
    ("another_user", another_user),
    ("a_squatter_is_not_the_daemon", squatter_refused),
    ("no_daemon_program", no_program),
];

fn without_root() {
    let place = Place::new();
    snapshot(
        "without_root",
        &place.run_as(NOBODY, &["connect", "--context", "my cluster", "--manager-namespace", "x"]),
    );
    assert_eq!(place.processes(), []);
}

fn another_user() {
    let place = Place::new();
    assert_eq!(place.run_by_sudo(NOBODY, &["connect", "--manager", URL]).code, Some(0));
    snapshot("another_user_status", &place.run_as(STRANGER, &["status"]));
    snapshot("another_user_quit", &place.run_as(STRANGER, &["quit"]));
    snapshot("another_user_maps_dump", &place.run_as(STRANGER, &["maps", "dump"]));
    snapshot("another_user_connect", &place.run_as(STRANGER, &["connect", "--manager", URL]));
    snapshot("another_user_version", &place.run_as(STRANGER, &["version"]));
    assert_eq!(place.run_as(NOBODY, &["status"]).code, Some(0));
    assert_eq!(place.run(&["quit"]).code, Some(0), "root may");
}

fn squatter_refused() {
    let place = Place::new();
    let mut squatter = squatter(&place).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(squatter.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "bound\n");
    snapshot("squatter", &place.run(&["connect", "--manager", URL]));
    squatter.kill().unwrap();
    squatter.wait().unwrap();
    place.connect();
}

fn no_program() {
    let place = Place::new();
    let output =
        place.tp(&["connect", "--manager", URL]).env("TP_DAEMON", "/nonexistent/tp-daemon").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("hint: is tp installed completely?"), "{said}");
}
