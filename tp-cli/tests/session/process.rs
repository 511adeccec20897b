//! The daemon as a process: what it may do, and what it leaves.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::{NOBODY, Place, STRANGER, URL, eventually};

pub(crate) const CASES: &[(&str, fn())] = &[
    ("every_thread_has_one_capability", capabilities),
    ("nothing_of_the_shell_stays_open", descriptors),
    ("sigkill_leaves_nothing", sigkill),
    ("sigterm_leaves_nothing", sigterm),
    ("sigkill_of_the_janitor_is_told", janitor_killed),
    ("sigkill_of_both_is_cured_by_the_next_connect", both_killed),
];

fn capabilities() {
    for (uid, by_sudo) in [(0, None), (NOBODY, Some(NOBODY)), (STRANGER, Some(STRANGER))] {
        let place = Place::new();
        let said = match by_sudo {
            Some(uid) => place.run_by_sudo(uid, &["connect", "--manager", URL]),
            None => place.run(&["connect", "--manager", URL]),
        };
        assert_eq!(said.code, Some(0), "{said:?}");
        let processes = [(place.daemon(), 3), (place.janitor(), 1)];
        for (pid, at_least) in processes {
            let tasks: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().collect();
            assert!(tasks.len() >= at_least, "{} threads", tasks.len());
            for task in tasks {
                let status = std::fs::read_to_string(task.path().join("status")).unwrap();
                let field = |name: &str| {
                    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                    line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
                };
                assert_eq!(field("Uid:"), vec![uid.to_string(); 4]);
                assert_eq!(field("CapPrm:"), ["0000000000001000"]);
                assert_eq!(field("CapEff:"), ["0000000000001000"]);
                for none in ["CapInh:", "CapBnd:", "CapAmb:"] {
                    assert_eq!(field(none), ["0000000000000000"], "{none}");
                }
                assert_eq!(field("NoNewPrivs:"), ["1"]);
                if uid != 0 {
                    assert_eq!(field("Gid:"), vec![uid.to_string(); 4]);
                    assert_eq!(field("Groups:"), [uid.to_string()]);
                }
            }
        }
        // the owner's own quit, without sudo
        assert_eq!(place.run_as(uid, &["quit"]).code, Some(0));
        place.becomes_clean();
    }
}

fn descriptors() {
    let place = Place::new();
    let tp = env!("CARGO_BIN_EXE_tp");
    let script = format!("exec 7>{}/lock; {tp} connect --manager {URL}", place.home.path().display());
    assert!(place.command("sh", &["-c", &script]).output().unwrap().status.success());
    for pid in [place.daemon(), place.janitor()] {
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            assert!(!target.ends_with("lock"), "{pid} holds {}", target.display());
        }
    }
    let janitors: Vec<_> = std::fs::read_dir(format!("/proc/{}/fd", place.janitor())).unwrap().collect();
    assert_eq!(janitors.len(), 3, "stdin is its line to the daemon, the rest is /dev/null");
}

fn sigkill() {
    let place = Place::new();
    for _ in 0..2 {
        place.connect();
        assert!(place.has_pair());
        signal(place.daemon(), Signal::SIGKILL);
        place.becomes_clean();
    }
}

fn sigterm() {
    for by in [Signal::SIGTERM, Signal::SIGINT] {
        let place = Place::new();
        place.connect();
        let daemon = place.daemon();
        signal(daemon, Signal::SIGHUP);
        assert_eq!(place.daemon(), daemon, "SIGHUP means nothing");
        signal(daemon, by);
        place.becomes_clean();
    }
}

fn janitor_killed() {
    let place = Place::new();
    place.connect();
    signal(place.janitor(), Signal::SIGTERM);
    assert!(!place.run(&["status"]).stdout.contains("janitor"), "SIGTERM means nothing to it");
    signal(place.janitor(), Signal::SIGKILL);
    eventually(|| place.run(&["status"]).stdout.contains("note: the janitor was killed"));
    assert_eq!(place.run(&["quit"]).code, Some(0));
}

fn both_killed() {
    let place = Place::new();
    place.connect();
    signal(place.janitor(), Signal::SIGKILL);
    signal(place.daemon(), Signal::SIGKILL);
    eventually(|| place.processes().is_empty());
    place.connect();
    assert_eq!(place.run(&["quit"]).code, Some(0));
    place.becomes_clean();
}

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}
