//! What a machine looks like: taken before and after, it must be the same.
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::place::Place;
use crate::process::eventually;

const COMMANDS: [&str; 10] = [
    "ip -o link show",
    "ip -o addr show",
    "ip -4 rule show",
    "ip -6 rule show",
    "ip -4 route show table all",
    "ip -6 route show table all",
    "nft list ruleset",
    "tc qdisc show",
    "cat /etc/resolv.conf /etc/hosts /etc/nsswitch.conf",
    "sysctl -a --pattern ^net.ipv[46].(conf.*(forwarding|rp_filter|accept_local|src_valid_mark)|ip_forward|ip_unprivileged)",
];

/// Comparable text by what it describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(BTreeMap<String, String>);

impl Host {
    /// A workstation; `pid` is any process of it.
    pub fn of(place: &Place, pid: u32) -> Result<Self> {
        let mut seen = BTreeMap::new();
        for command in COMMANDS {
            let words: Vec<&str> = command.split(' ').collect();
            let done = place.run(&words)?;
            seen.insert(command.to_owned(), sorted(&done.stdout));
        }
        seen.insert("mounts".into(), mounts(&format!("/proc/{pid}/mounts"))?);
        seen.insert(
            "unix sockets".into(),
            abstract_sockets(&fs::read_to_string(format!("/proc/{pid}/net/unix"))?),
        );
        seen.insert("files".into(), files());
        Ok(Self(seen))
    }

    /// The machine the tests themselves run on, which no suite may change.
    pub fn root() -> Result<Self> {
        let mut seen = BTreeMap::new();
        for command in COMMANDS {
            let mut words = command.split(' ');
            let out = Command::new(words.next().unwrap_or_default()).args(words).output()?;
            seen.insert(command.to_owned(), sorted(&String::from_utf8_lossy(&out.stdout)));
        }
        seen.insert("mounts".into(), mounts("/proc/self/mounts")?);
        seen.insert("files".into(), files());
        Ok(Self(seen))
    }

    /// Lines that only one of the two has; empty if they are the same.
    pub fn difference(&self, after: &Self) -> String {
        let mut out = String::new();
        for (what, before) in &self.0 {
            let now = after.0.get(what).map_or("", String::as_str);
            let lacks = |text: &str, line: &&str| !text.lines().any(|other| other == *line);
            for line in before.lines().filter(|line| lacks(now, line)) {
                out.push_str(&format!("  {what}: lost   {line}\n"));
            }
            for line in now.lines().filter(|line| lacks(before, line)) {
                out.push_str(&format!("  {what}: gained {line}\n"));
            }
        }
        out
    }

    /// The machine must look like this again within the time.
    pub fn again(&self, within: Duration, look: impl Fn() -> Result<Self>) -> Result<()> {
        eventually(within, || {
            let difference = self.difference(&look()?);
            ensure!(difference.is_empty(), "the machine is not as it was:\n{difference}");
            Ok(())
        })
    }
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Mount points without those of namespaces and runtimes of other programs on the machine, which come and go.
fn mounts(path: &str) -> Result<String> {
    let text = fs::read_to_string(path)?;
    let ours = |line: &&str| {
        let point = line.split(' ').nth(1).unwrap_or_default();
        !point.starts_with("/run/netns")
            && !point.starts_with("/var/lib/docker")
            && !point.starts_with("/tmp/")
    };
    Ok(sorted(&text.lines().filter(ours).collect::<Vec<_>>().join("\n")))
}

/// Names of listening abstract sockets of ours.
fn abstract_sockets(text: &str) -> String {
    text.lines()
        .filter_map(|line| line.split_whitespace().nth(7))
        .filter(|name| name.starts_with("@tp"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Files of ours in the places where daemons leave files.
fn files() -> String {
    let mut found = Vec::new();
    for dir in ["/run", "/var/run", "/var/lib", "/sys/fs/bpf", "/dev/shm", "/etc"] {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        found.extend(
            names.filter(|name| name == "tp" || name.starts_with("tp-")).map(|name| format!("{dir}/{name}")),
        );
    }
    found.sort();
    found.join("\n")
}
