//! Giving up root: from the set-up on, the daemon is the invoking user with CAP_NET_ADMIN and nothing else.
//!
//! Routes need that one capability (facts/dataplane.md §11). A credential plugin or whatever else the daemon starts gets
//! none: the bounding set is empty, root gains nothing by an exec (SECBIT_NOROOT), and no_new_privs keeps set-user-ID
//! programs from being more than the user. All of it belongs to a thread and is inherited by its children, so it is
//! done in every thread there is, and checked in every thread afterwards.

use std::fs;
use std::io;

use anyhow::{Context, Result, ensure};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};
use tp_core::invoker::Account;

use crate::backend::ThreadWork;

/// What is kept.
const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN;

/// Becomes `account`. `in_other_threads` runs work in the threads that there are besides this one.
pub fn drop_to(account: &Account, in_other_threads: impl Fn(ThreadWork) -> io::Result<()>) -> Result<()> {
    let everywhere = |work: ThreadWork| work().and_then(|()| in_other_threads(work));
    everywhere(seal).context("sealing the capabilities")?;
    // glibc changes the ids of all threads at once, and ends the process if one of them may not: all are root still
    become_user(account).with_context(|| format!("becoming {} (uid {})", account.name, account.uid))?;
    everywhere(keep_one).context("giving up the capabilities")?;
    // Neither a core file nor a debugger of the user shall have our tokens. Changing the uid did this already; plain
    // root's daemon did not change it.
    nix::sys::prctl::set_dumpable(false).context("forbidding core files")?;
    check(account)
}

fn become_user(account: &Account) -> Result<()> {
    if account.uid == 0 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    setgroups(&groups(account)?).context("setting the supplementary groups")?;
    setresgid(gid, gid, gid).context("setting the group")?;
    setresuid(uid, uid, uid).context("setting the user")
}

fn groups(account: &Account) -> Result<Vec<Gid>> {
    let name = std::ffi::CString::new(account.name.as_bytes()).context("reading the user's name")?;
    nix::unistd::getgrouplist(&name, Gid::from_raw(account.gid)).context("looking up the user's groups")
}

/// Nothing of root comes back, neither by changing ids nor by an exec.
fn seal() -> io::Result<()> {
    use CapabilitiesSecureBits as Bits;
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::capability_is_in_bounding_set(capability) {
            Ok(true) => rustix::thread::remove_capability_from_bounding_set(capability)?,
            // an older kernel does not know the newer capabilities
            Ok(false) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    rustix::thread::set_capabilities_secure_bits(
        Bits::NO_ROOT
            | Bits::NO_ROOT_LOCKED
            | Bits::NO_SETUID_FIXUP
            | Bits::NO_SETUID_FIXUP_LOCKED
            | Bits::KEEP_CAPS_LOCKED
            | Bits::NO_CAP_AMBIENT_RAISE
            | Bits::NO_CAP_AMBIENT_RAISE_LOCKED,
    )?;
    Ok(())
}

fn keep_one() -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() },
    )?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

/// Reads back what every thread of this process has.
fn check(account: &Account) -> Result<()> {
    let kept = format!("{:016x}", KEPT.bits());
    let none = "0".repeat(16);
    let ids = |id: u32| [id.to_string().as_str(); 4].join("\t");
    let (uids, gids) = (ids(account.uid), ids(account.gid));
    for task in fs::read_dir("/proc/self/task").context("listing our threads")? {
        let path = task?.path().join("status");
        let status = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut wanted = vec![
            ("Uid", uids.as_str()),
            ("CapInh", &none),
            ("CapPrm", &kept),
            ("CapEff", &kept),
            ("CapBnd", &none),
            ("CapAmb", &none),
            ("NoNewPrivs", "1"),
        ];
        if account.uid != 0 {
            wanted.push(("Gid", &gids));
        }
        for (field, value) in wanted {
            let found = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
            ensure!(found == Some(value), "{}: {field} is {found:?}, and not {value}", path.display());
        }
    }
    Ok(())
}
