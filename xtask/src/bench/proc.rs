//! What the kernel says of processes: their time on the processor, their memory, who they are.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The unit of /proc/PID/stat, the same on every Linux of this architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of a process with all of its threads, ended or not, in user mode and in the kernel. What the kernel does in an
/// interrupt (packets across a veth, mostly) is counted for whoever happens to run: a sender pays for its receiver's packets.
pub(crate) fn seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    ticks(&stat).map(|ticks| ticks / TICKS_PER_SECOND).context("an unreadable /proc/PID/stat")
}

/// Whether it has ended and waits to be waited for.
pub(crate) fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    after_name(&stat).is_none_or(|rest| rest.starts_with(['Z', 'X']))
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0)
}

/// How many descriptors it has open.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

pub(crate) fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether it runs this program in this network namespace.
pub(crate) fn runs(pid: u32, program: &Path, netns: &Path) -> bool {
    let same_namespace = || {
        use std::os::unix::fs::MetadataExt;
        let theirs = fs::metadata(format!("/proc/{pid}/ns/net")).map(|meta| (meta.dev(), meta.ino()));
        theirs.is_ok_and(|theirs| fs::metadata(netns).is_ok_and(|ours| (ours.dev(), ours.ino()) == theirs))
    };
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program) && same_namespace()
}

/// The words it was started with, joined by blanks.
pub(crate) fn command_line(pid: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

/// Its name as the kernel keeps it.
pub(crate) fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// Whether `ancestor` is among those who started it.
pub(crate) fn descends_from(pid: u32, ancestor: u32) -> bool {
    let mut current = pid;
    while current > 1 {
        if current == ancestor {
            return true;
        }
        let stat = fs::read_to_string(format!("/proc/{current}/stat")).unwrap_or_default();
        let parent = after_name(&stat).and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        current = parent.unwrap_or(0);
    }
    false
}

/// User and system time: fields 14 and 15.
fn ticks(stat: &str) -> Option<f64> {
    let mut fields = after_name(stat)?.split(' ').skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The fields from the third on: the second is a name that may hold anything.
fn after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ").map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_is_no_trap() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 4 0 1 1 1";
        assert_eq!(ticks(stat), Some(200.0));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn this_process_is_there() {
        let me = std::process::id();
        assert!(seconds(me).is_ok() && resident(me).unwrap() > 1e5 && !has_ended(me));
        assert!(descends_from(me, me) && all().contains(&me));
        assert!(has_ended(u32::MAX) && seconds(u32::MAX).is_err());
    }
}
