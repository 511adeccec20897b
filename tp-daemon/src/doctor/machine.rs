//! What can be seen of this machine without a privilege.

use std::io::ErrorKind;

use tp_core::doctor::{Check, Stage};
use tp_core::machine::{Link, Machine};
use tp_core::tun_addresses::pick_v4;
use tp_proto::control;

use crate::dataplane::{PAIR_HOST, TUN_NAME};
use crate::failure::{Failure, OrHint};
use crate::machine;

/// `sk_lookup` has all that is needed since then, and so have the private namespace's sockets.
const OLDEST: (u32, u32) = (5, 14);
const TUN_FILE: &str = "/dev/net/tun";

/// Looks at everything, and returns what routes are planned with.
pub(super) async fn look(checks: &mut Vec<Check>) -> Result<Machine, Failure> {
    checks.push(kernel());
    checks.push(tun_file());
    let connected = control::connect().await.is_ok();
    let machine = machine::look()
        .await
        .or_hint("looking at the routes of this machine", "is netlink available here? `ip route` tells")?;
    checks.extend(devices(&machine, connected));
    if !connected && pick_v4(&machine::taken(&machine)).is_none() {
        checks.push(Check::fail(
            Stage::Machine,
            "address of tp0",
            "every network that tp might use is in use: 198.18.84.112/30 for one",
            "see `ip route show table all`",
        ));
    }
    Ok(machine)
}

fn kernel() -> Check {
    let release = nix::sys::utsname::uname()
        .ok()
        .and_then(|name| name.release().to_str().map(str::to_owned))
        .unwrap_or_default();
    judge_kernel(&release)
}

fn judge_kernel(release: &str) -> Check {
    let numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse::<u32>().ok());
    let numbers: Vec<u32> = numbers.map_while(|number| number).take(2).collect();
    match numbers[..] {
        [major, minor] if (major, minor) < OLDEST => Check::fail(
            Stage::Machine,
            "kernel",
            format!("Linux {release} is too old"),
            "tp needs Linux 5.14 or later",
        ),
        [_, _] => Check::ok(Stage::Machine, "kernel", format!("Linux {release}")),
        _ => Check::note(Stage::Machine, "kernel", format!("a version that says nothing: {release}"), ""),
    }
}

fn tun_file() -> Check {
    match std::fs::File::options().read(true).write(true).open(TUN_FILE) {
        Ok(_) => Check::ok(Stage::Machine, "TUN", TUN_FILE),
        // root may
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Check::ok(Stage::Machine, "TUN", format!("{TUN_FILE}, for root only"))
        }
        Err(error) => Check::fail(
            Stage::Machine,
            "TUN",
            format!("{TUN_FILE}: {error}"),
            "load the driver: sudo modprobe tun; in a container, add --device /dev/net/tun",
        ),
    }
}

/// Whether the names of our devices are free.
fn devices(machine: &Machine, connected: bool) -> Vec<Check> {
    let names = [TUN_NAME, PAIR_HOST];
    let found = |name: &str| machine.links.iter().find(|link| link.name == name);
    if connected {
        return vec![Check::ok(
            Stage::Machine,
            "devices",
            "tp0 and tpv belong to the connection that there is",
        )];
    }
    let mut checks: Vec<Check> = names.iter().filter_map(|name| found(name)).map(in_the_way).collect();
    if checks.is_empty() {
        checks.push(Check::ok(Stage::Machine, "devices", "the names tp0 and tpv are free"));
    }
    checks
}

fn in_the_way(link: &Link) -> Check {
    let name = format!("device {}", link.name);
    let kind = if link.kind.is_empty() { "a physical device" } else { link.kind.as_str() };
    let remove = format!("if nobody needs it: sudo ip link del {}", link.name);
    if link.name == PAIR_HOST && link.kind == "veth" {
        return Check::note(
            Stage::Machine,
            &name,
            "there is one already, likely of a daemon that was killed: the next connect removes it if it is",
            remove,
        );
    }
    Check::fail(Stage::Machine, &name, format!("there is one already ({kind}), and it is not ours"), remove)
}

#[cfg(test)]
mod tests {
    use tp_core::doctor::Verdict;

    use super::*;

    #[test]
    fn old_kernels_are_told_from_new_ones() {
        let verdict = |release: &str| judge_kernel(release).verdict;
        for old in ["4.19.0-27-amd64", "5.10.0", "5.13.19-generic"] {
            assert_eq!(verdict(old), Verdict::Fail, "{old}");
        }
        for new in ["5.14.0-503.el9.x86_64", "6.18.44-fc-v445", "10.0-rc1"] {
            assert_eq!(verdict(new), Verdict::Ok, "{new}");
        }
        for strange in ["", "unknown", "7"] {
            assert_eq!(verdict(strange), Verdict::Note, "{strange}");
        }
    }

    #[test]
    fn a_name_that_somebody_else_has_stops_a_connect_unless_it_is_our_own_left_over() {
        let link = |name: &str, kind: &str| Link { name: name.into(), kind: kind.into(), ..Link::default() };
        let verdicts = |links: &[Link], connected| -> Vec<(String, Verdict)> {
            let machine = Machine { links: links.to_vec(), ..Machine::default() };
            devices(&machine, connected).into_iter().map(|check| (check.name, check.verdict)).collect()
        };
        let one = |name: &str, verdict| vec![(name.to_owned(), verdict)];
        assert_eq!(verdicts(&[], false), one("devices", Verdict::Ok));
        assert_eq!(verdicts(&[link("tp0", "tun"), link("tpv", "veth")], true), one("devices", Verdict::Ok));
        assert_eq!(verdicts(&[link("tp0", "bridge")], false), one("device tp0", Verdict::Fail));
        assert_eq!(verdicts(&[link("tpv", "bridge")], false), one("device tpv", Verdict::Fail));
        assert_eq!(verdicts(&[link("tpv", "veth")], false), one("device tpv", Verdict::Note));
    }
}
