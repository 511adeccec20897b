//! The janitor process itself.

use std::io;

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use nix::sys::signal::SigSet;
use rtnetlink::packet_route::link::LinkAttribute;
use tp_core::invoker::Account;

use crate::privileges;

/// An interface the daemon has named.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Interface {
    index: u32,
    name: String,
}

/// Waits for the daemon to end, then removes what it has named.
pub fn run(account: &Account) -> Result<()> {
    // Neither a signal to the daemon's process group nor a terminal may end us: the end of stdin alone does
    nix::unistd::setsid().context("leaving the daemon's session")?;
    SigSet::all().thread_block().context("blocking signals")?;
    nix::sys::prctl::set_name(c"tp-janitor").context("naming the process")?;
    std::env::set_current_dir("/").context("leaving the working directory")?;
    privileges::drop_to(account, |_| Ok(()))?;
    let mut interfaces = Vec::new();
    for line in io::stdin().lines() {
        // a daemon that was killed in the middle of a line has not finished what the line names
        let Some(interface) = line.ok().as_deref().and_then(parse) else { continue };
        interfaces.push(interface);
    }
    if interfaces.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().context("starting")?;
    runtime.block_on(remove(&interfaces))
}

fn parse(line: &str) -> Option<Interface> {
    let (index, name) = line.split_once(' ')?;
    Some(Interface { index: index.parse().ok()?, name: name.to_owned() })
}

async fn remove(interfaces: &[Interface]) -> Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection().context("opening netlink")?;
    tokio::spawn(connection);
    for Interface { index, name } in interfaces {
        let found = handle.link().get().match_index(*index).execute().try_next().await;
        let Ok(Some(link)) = found else { continue };
        let same = link
            .attributes
            .iter()
            .any(|attribute| matches!(attribute, LinkAttribute::IfName(is) if is == name));
        if same {
            // it may vanish with its namespace in this very moment
            let _ = handle.link().del(*index).execute().await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_names_nothing() {
        assert_eq!(parse("12 tpv"), Some(Interface { index: 12, name: "tpv".into() }));
        for line in ["", "1", "x tpv", "-1 tpv"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
