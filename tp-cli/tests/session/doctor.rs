//! `tp doctor` around a program that answers as the daemon's would: who asks it what, and what is told.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::cases::snapshot;
use crate::netns::{NOBODY, Place, Said, URL, said};

pub(crate) const CASES: &[(&str, fn())] = &[
    ("doctor_of_a_good_machine", good),
    ("doctor_finds_what_would_stop_a_connect", bad),
    ("doctor_without_root", without_root),
    ("doctor_of_an_incomplete_installation", incomplete),
    ("doctor_while_connected", while_connected),
    ("doctor_runs_no_command", no_command),
];

const VERSION: &str = env!("CARGO_PKG_VERSION");
const GOOD: &str = r#"{"stage":"routes","name":"routed","verdict":"ok","says":"10.96.0.0/16"}"#;
const BAD: &str = r#"{"stage":"cluster","name":"API server","verdict":"fail","says":"connection refused","hint":"is the cluster up?"}"#;

/// A daemon's program that finds `check`, and tells who asked for what.
fn program(place: &Place, version: &str, check: &str) -> PathBuf {
    let path = place.home.path().join("tp-daemon");
    let script = format!(
        r#"#!/bin/sh
case $1 in
--version) echo "tp-daemon {version}" ;;
check) echo '{{"checks":[{{"stage":"machine","name":"dataplane","verdict":"ok","says":"tried as uid '$(id -u)'"}}]}}' ;;
doctor) echo '{{"command":"sudo tp connect --manager URL","checks":[{{"stage":"settings","name":"asked","verdict":"ok",
  "says":"as uid '$(id -u)' about '$(tr -c a-z:/ '\n' | grep -m1 tp:)'"}},{check}]}}' ;;
esac
"#
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(place.home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn asked(place: &Place, program: &PathBuf, words: &[&str], change: impl FnOnce(&mut Command)) -> Said {
    let mut command = place.tp(&[&["doctor", "--manager", URL], words].concat());
    command.env("TP_DAEMON", program);
    change(&mut command);
    said(&command.output().unwrap())
}

fn good() {
    let place = Place::new();
    let program = program(&place, VERSION, GOOD);
    let by_sudo = |command: &mut Command| {
        command.env("SUDO_UID", NOBODY.to_string()).env("SUDO_GID", NOBODY.to_string());
    };
    snapshot("doctor_good", &asked(&place, &program, &[], by_sudo));
    snapshot("doctor_good_json", &asked(&place, &program, &["--output", "json"], by_sudo));
}

fn bad() {
    let place = Place::new();
    let program = program(&place, VERSION, BAD);
    snapshot("doctor_bad", &asked(&place, &program, &[], |_| ()));
}

fn without_root() {
    let place = Place::new();
    let program = program(&place, VERSION, GOOD);
    // there is a sudo, whatever the machine has
    std::fs::write(place.home.path().join("sudo"), "").unwrap();
    let id = NOBODY.to_string();
    for (name, more) in [("doctor_without_root", None), ("doctor_without_any_root", Some("--no-new-privs"))] {
        let mut words = vec!["--reuid", &id, "--regid", &id, "--clear-groups"];
        words.extend(more);
        words.extend([env!("CARGO_BIN_EXE_tp"), "doctor", "--manager", URL]);
        let mut command = place.command("setpriv", &words);
        command.env("TP_DAEMON", &program);
        command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", place.home.path().display()));
        let told = said(&command.output().unwrap());
        assert!(!told.stdout.contains("tried as"), "{told:?}");
        let stdout = told.stdout.replace(env!("CARGO_BIN_EXE_tp"), "tp");
        snapshot(name, &Said { stdout, ..told });
    }
}

fn incomplete() {
    let place = Place::new();
    let older = program(&place, "0.0.1", GOOD);
    let shown = |told: Said| {
        let home = place.home.path().display().to_string();
        Said { stdout: told.stdout.replace(&home, "HOME"), ..told }
    };
    snapshot("doctor_other_version", &shown(asked(&place, &older, &[], |_| ())));
    let none = PathBuf::from("/nonexistent/tp-daemon");
    snapshot("doctor_no_program", &shown(asked(&place, &none, &[], |_| ())));
    let silent = program(&place, VERSION, "nonsense");
    snapshot("doctor_unreadable", &shown(asked(&place, &silent, &[], |_| ())));
}

fn while_connected() {
    let place = Place::new();
    place.connect();
    let program = program(&place, VERSION, GOOD);
    snapshot("doctor_connected", &asked(&place, &program, &[], |_| ()));
}

fn no_command() {
    let place = Place::new();
    let program = program(&place, VERSION, GOOD);
    let told = asked(&place, &program, &["--", "true"], |_| ());
    assert_eq!(told.code, Some(2), "{told:?}");
    assert!(told.stderr.contains("runs no command"), "{told:?}");
}
