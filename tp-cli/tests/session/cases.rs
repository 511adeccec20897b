//! What the commands say and return.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fake::{BAD, SLOW};
use crate::netns::{NOBODY, Place, Said, URL, eventually};

pub(crate) const CASES: &[(&str, fn())] = &[
    ("without_a_connection", without_a_connection),
    ("a_connection_from_connect_to_quit", connection),
    ("as_json", as_json),
    ("a_second_connect", second_connect),
    ("a_connect_that_fails", failing_connect),
    ("a_connect_that_is_interrupted", interrupted_connect),
    ("quit_during_a_connect", quit_during_connect),
    ("a_command", command),
    ("a_command_is_sent_our_signals", signals),
    ("a_command_leaves_an_older_connection", older_connection),
];

fn without_a_connection() {
    let place = Place::new();
    snapshot("none_status", &place.run(&["status"]));
    snapshot("none_status_json", &place.run(&["status", "--output", "json"]));
    snapshot("none_quit", &place.run(&["quit"]));
    snapshot("none_quit_json", &place.run(&["quit", "--output", "json"]));
    snapshot("none_version", &place.run(&["version"]));
    snapshot("none_maps_dump", &place.run(&["maps", "dump"]));
}

fn connection() {
    let place = Place::new();
    snapshot("connect", &place.run(&["connect", "--manager", URL]));
    snapshot("status", &place.run(&["status"]));
    snapshot("version", &place.run(&["version"]));
    snapshot("maps_dump", &place.run(&["maps", "dump"]));
    snapshot("maps_dump_unknown", &place.run(&["maps", "dump", "cards"]));
    snapshot("quit", &place.run(&["quit"]));
    assert_eq!(place.processes(), [], "quit returned before everything was gone");
    assert!(!place.has_pair());
    let log = std::fs::read_to_string(place.home.path().join(".cache/tp/logs/daemon.log")).unwrap();
    assert!(log.contains("root is given up"), "{log}");
}

fn as_json() {
    let place = Place::new();
    snapshot("json_connect", &place.run(&["connect", "--manager", URL, "--output", "json"]));
    snapshot("json_status", &place.run(&["status", "--output", "json"]));
    snapshot("json_version", &place.run(&["version", "--output", "json"]));
    snapshot("json_maps_dump", &place.run(&["maps", "dump", "outcomes", "--output", "json"]));
    snapshot("json_quit", &place.run(&["quit", "--output", "json"]));
}

fn second_connect() {
    let place = Place::new();
    place.connect();
    let daemon = place.daemon();
    snapshot("second_connect", &place.run(&["connect", "--manager", URL]));
    snapshot("second_connect_elsewhere", &place.run(&["connect", "--manager", "tp://other"]));
    assert_eq!(place.daemon(), daemon);
}

fn failing_connect() {
    let place = Place::new();
    snapshot("failing_connect", &place.run(&["connect", "--manager", BAD]));
    assert_eq!(place.processes(), [], "connect returned before everything was gone");
    assert!(!place.has_pair());
    place.connect();
}

fn interrupted_connect() {
    let place = Place::new();
    for (signal, code) in [(Signal::SIGINT, Some(130)), (Signal::SIGTERM, Some(143)), (Signal::SIGKILL, None)]
    {
        let mut waiting = place.tp(&["connect", "--manager", SLOW]).stderr(Stdio::null()).spawn().unwrap();
        eventually(|| place.run(&["status"]).stdout.starts_with("connecting"));
        // nsenter has become tp
        kill(Pid::from_raw(i32::try_from(waiting.id()).unwrap()), signal).unwrap();
        assert_eq!(waiting.wait().unwrap().code(), code, "{signal}");
        place.becomes_clean();
    }
}

fn quit_during_connect() {
    let place = Place::new();
    let waiting = place.tp(&["connect", "--manager", SLOW]).stderr(Stdio::piped()).spawn().unwrap();
    eventually(|| place.run(&["status"]).stdout.starts_with("connecting"));
    assert_eq!(place.run(&["quit"]).code, Some(0));
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the connect was interrupted"), "{said}");
    place.becomes_clean();
}

fn command() {
    let place = Place::new();
    let connect = ["connect", "--manager", URL, "--"];
    let with = |words: &[&'static str]| [&connect[..], words].concat();
    snapshot("command", &place.run(&with(&["sh", "-c", "echo connected >&2; exit 7"])));
    snapshot("command_missing", &place.run(&with(&["no-such-program"])));
    let user = place.run_by_sudo(NOBODY, &with(&["sh", "-c", "id -u; echo $HOME $SUDO_UID"]));
    assert_eq!(user.stdout, "65534\n/nonexistent\n", "{user:?}");
    let killed = place.run(&with(&["sh", "-c", "kill -SEGV $$"]));
    assert_eq!(killed.code, Some(128 + 11), "{killed:?}");
    assert_eq!(place.processes(), [], "the connection outlives the command");
}

fn signals() {
    let place = Place::new();
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let words = ["connect", "--manager", URL, "--", "sh", "-c", script];
    let mut command = place.tp(&words);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(running.stdout.as_mut().unwrap(), &mut line).unwrap();
    kill(Pid::from_raw(i32::try_from(running.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(9));
    assert_eq!(place.processes(), []);
}

fn older_connection() {
    let place = Place::new();
    place.connect();
    let daemon = place.daemon();
    assert_eq!(place.run(&["connect", "--manager", URL, "--", "true"]).code, Some(0));
    assert_eq!(place.daemon(), daemon);
}

/// Everything a command said, without what differs from run to run.
pub(crate) fn snapshot(name: &str, said: &Said) {
    let text = format!(
        "exit code {}\n--- stdout\n{}--- stderr\n{}",
        said.code.map_or("none".to_owned(), |code| code.to_string()),
        said.stdout,
        said.stderr
    );
    insta::with_settings!({
        omit_expression => true,
        prepend_module_to_snapshot => false,
        filters => vec![
            (r"(process|ps -fp) \d+", "$1 PID"),
            (r#""pid": \d+"#, r#""pid": PID"#),
            (r"/[^ \n]*/\.cache/tp", "HOME/.cache/tp"),
            (r#""/[^ \n]*/\.cache/tp"#, r#""HOME/.cache/tp"#),
            (r"/[^ \n]*/debug/", "BIN/"),
            (r"session-[0-9a-f]{16}", "TEST"),
        ]
    }, { insta::assert_snapshot!(name, text) });
}
