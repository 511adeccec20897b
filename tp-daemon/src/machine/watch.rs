//! Tells when this machine's links, addresses, routes or rules have changed.
//!
//! The kernel announces changes to whoever listens, without a privilege. Its announcements are read here and thrown
//! away at once: whoever waits looks at everything anew.

use std::fmt;
use std::io;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use tokio::time::Instant;

use super::kernel::parts;
use super::{OURS, links, routes};

/// `RTNLGRP_*`: links, and addresses, routes and rules of both families.
const GROUPS: [u32; 7] = [1, 5, 7, 8, 9, 11, 19];
/// `RTNLGRP_NEXTHOP`, beyond the groups that a bind can name. Linux 5.3.
const NEXT_HOPS: u32 = 32;

/// A VPN that comes up makes a dozen changes at once.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// A socket that fails all the time shall not keep us busy.
const AFTER_AN_ERROR: Duration = Duration::from_secs(1);

/// A socket that listens from its start on: what changes between [`Watch::start`] and the first [`Watch::changed`]
/// is seen.
pub struct Watch {
    socket: TokioSocket,
    /// Something has changed and is told then.
    due: Option<Instant>,
}

impl Watch {
    /// Listens in the network namespace of this thread.
    pub fn start() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let groups = GROUPS.iter().fold(0, |groups, group| groups | 1 << (group - 1));
        socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
        if let Err(error) = socket.socket_ref().add_membership(NEXT_HOPS) {
            tracing::debug!(%error, "this kernel has no next hop objects");
        }
        Ok(Self { socket, due: None })
    }

    /// Waits for a change, and a moment longer for those that come with it. Changes of our own devices are none. May be
    /// dropped and called again: nothing is missed.
    pub async fn changed(&mut self) {
        loop {
            let datagram = match self.due {
                None => self.socket.recv_from_full().await,
                Some(due) => tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(due) => {
                        self.due = None;
                        return;
                    }
                    datagram = self.socket.recv_from_full() => datagram,
                },
            };
            let pause = match datagram {
                Ok((datagram, _)) if !concerns_us(&datagram) => continue,
                Ok(_) => DEBOUNCE,
                // more than the socket could hold: anything may have changed
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => DEBOUNCE,
                Err(error) => {
                    tracing::warn!(%error, "listening for changes of this machine's routes");
                    tokio::time::sleep(AFTER_AN_ERROR).await;
                    Duration::ZERO
                }
            };
            self.due.get_or_insert_with(|| Instant::now() + pause);
        }
    }
}

/// Whether it announces anything that is not about devices of our own.
fn concerns_us(datagram: &[u8]) -> bool {
    let ours = OURS.map(|name| if_nametoindex(name).ok());
    let is_ours = |index: u32| ours.contains(&Some(index));
    parts(datagram).any(|part| {
        let own = match part.kind {
            // RTM_NEWLINK, RTM_DELLINK
            16 | 17 => links::name(part.payload).is_some_and(|name| OURS.contains(&name.as_str())),
            // RTM_NEWADDR, RTM_DELADDR
            20 | 21 => links::link_of_address(part.payload).is_some_and(is_ours),
            // RTM_NEWROUTE, RTM_DELROUTE
            24 | 25 => {
                let devices = routes::devices(part.payload);
                !devices.is_empty() && devices.into_iter().all(is_ours)
            }
            _ => false,
        };
        !own
    })
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("due", &self.due).finish_non_exhaustive()
    }
}
