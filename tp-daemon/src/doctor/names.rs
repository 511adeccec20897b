//! How names are resolved on this machine, and how the cluster's would be.

use tp_core::doctor::{Check, Stage};

use crate::dns::{self, Survey};

const NAME: &str = "names";

pub(super) async fn check(checks: &mut Vec<Check>) {
    let survey = dns::survey().await;
    checks.push(way(&survey));
    checks.extend(servers(&survey));
}

/// By which way queries would come to us.
fn way(survey: &Survey) -> Check {
    let ways = survey.ways;
    if ways.hooks && !survey.cgroup2 {
        return Check::fail(
            Stage::Machine,
            NAME,
            "no cgroup2 file system is mounted, and names need it here: not all programs ask systemd-resolved",
            "mount it, for example: sudo mount -t cgroup2 none /sys/fs/cgroup/unified",
        );
    }
    let says = match (ways.resolved, ways.hooks) {
        (true, false) => "the cluster's would come by systemd-resolved",
        (true, true) => "the cluster's would come by systemd-resolved and by socket hooks",
        _ => "the cluster's would come by socket hooks",
    };
    Check::ok(Stage::Machine, NAME, says)
}

/// A machine whose own names do not resolve is easily mistaken for one whose connection broke them.
fn servers(survey: &Survey) -> Vec<Check> {
    let name = "DNS servers";
    if survey.servers.is_empty() {
        return vec![Check::note(
            Stage::Machine,
            name,
            "resolv.conf names none: names that are not the cluster's do not resolve on this machine",
            "",
        )];
    }
    let list = |answers: bool| -> Vec<String> {
        let of = survey.servers.iter().filter(|(_, it_does)| *it_does == answers);
        of.map(|(server, _)| server.ip().to_string()).collect()
    };
    let (alive, silent) = (list(true), list(false));
    if silent.is_empty() {
        let verb = if alive.len() == 1 { "answers" } else { "answer" };
        return vec![Check::ok(Stage::Machine, name, format!("{} {verb}", alive.join(", ")))];
    }
    let hint = if survey.only_resolved && !survey.ways.resolved {
        "systemd-resolved does not run: sudo systemctl start systemd-resolved".to_owned()
    } else {
        format!("try one: dig @{} example.com", silent[0])
    };
    let effect = if alive.is_empty() { ": names of this machine do not resolve" } else { "" };
    let says = format!("{} not answer{effect}", does(&silent));
    vec![Check::note(Stage::Machine, name, says, hint)]
}

fn does(servers: &[String]) -> String {
    format!("{} {}", servers.join(", "), if servers.len() == 1 { "does" } else { "do" })
}

#[cfg(test)]
mod tests {
    use tp_core::dns::servers::Ways;
    use tp_core::doctor::Verdict;

    use super::*;

    fn survey() -> Survey {
        let server = |ip: &str, answers| (format!("{ip}:53").parse().unwrap(), answers);
        Survey {
            ways: Ways { resolved: false, hooks: true },
            servers: vec![server("192.0.2.1", true), server("192.0.2.2", false)],
            only_resolved: false,
            cgroup2: true,
        }
    }

    #[test]
    fn hooks_need_cgroup2() {
        assert_eq!(way(&survey()).verdict, Verdict::Ok);
        assert_eq!(way(&Survey { cgroup2: false, ..survey() }).verdict, Verdict::Fail);
        let resolved = Survey { cgroup2: false, ways: Ways { resolved: true, hooks: false }, ..survey() };
        assert_eq!(way(&resolved).verdict, Verdict::Ok);
    }

    #[test]
    fn silent_servers_are_named_and_stop_nothing() {
        let [check] = &servers(&survey())[..] else { panic!() };
        assert_eq!((check.verdict, check.says.as_str()), (Verdict::Note, "192.0.2.2 does not answer"));
        let down = Survey {
            servers: vec![("127.0.0.53:53".parse().unwrap(), false)],
            only_resolved: true,
            ..survey()
        };
        let [check] = &servers(&down)[..] else { panic!() };
        assert_eq!(check.says, "127.0.0.53 does not answer: names of this machine do not resolve");
        assert!(check.hint.contains("systemctl start"));
        let [check] = &servers(&Survey { servers: Vec::new(), ..survey() })[..] else { panic!() };
        assert_eq!(check.verdict, Verdict::Note);
    }
}
