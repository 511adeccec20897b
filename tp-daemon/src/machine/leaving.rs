//! Where a packet to an address would go: the kernel is asked, with all its rules and tables.

use std::io;
use std::net::IpAddr;

use tp_core::machine::RouteKind;

use super::kernel::{Family, Kernel, ROUTES};
use super::routes;

/// `rtmsg`.
const FIXED: usize = 12;
/// `RTA_DST` with a header of four bytes.
const RTA_DST: u16 = 1;
/// Without it IPv4 says `main`, whatever the table was.
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;

/// The way that the kernel chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaving {
    /// Not `Unicast` nor `Local`: the packet is refused or thrown away.
    pub kind: RouteKind,
    pub link: Option<u32>,
    /// The kernel does not tell where a route came from that refuses.
    pub table: Option<u32>,
}

/// How a packet of an ordinary app (of our user's, without a mark) would leave; `None`: there is no route, or a policy
/// rule says `unreachable`, which is the same to the kernel.
pub async fn leaves_by(ip: IpAddr) -> io::Result<Option<Leaving>> {
    let refused = |kind| Ok(Some(Leaving { kind, link: None, table: None }));
    match Kernel::open()?.ask(ROUTES, &question(ip)).await {
        Ok(answer) => {
            let payload = &answer.payload;
            let kind =
                routes::kind(payload).ok_or_else(|| io::Error::other("an answer that is cut short"))?;
            let link = routes::devices(payload).first().copied();
            Ok(Some(Leaving { kind, link, table: routes::table_of(payload) }))
        }
        Err(error) => match error.raw_os_error() {
            Some(libc::ENETUNREACH) => Ok(None),
            Some(libc::EINVAL) => refused(RouteKind::Blackhole),
            Some(libc::EHOSTUNREACH) => refused(RouteKind::Unreachable),
            Some(libc::EACCES) => refused(RouteKind::Prohibit),
            _ => Err(error),
        },
    }
}

fn question(ip: IpAddr) -> Vec<u8> {
    let (family, octets) = match ip {
        IpAddr::V4(ip) => (Family::V4, ip.octets().to_vec()),
        IpAddr::V6(ip) => (Family::V6, ip.octets().to_vec()),
    };
    let mut question = vec![0; FIXED];
    question[0] = family.number();
    question[1] = family.longest_prefix();
    question[8..].copy_from_slice(&RTM_F_LOOKUP_TABLE.to_ne_bytes());
    let length = if octets.len() == 4 { 8_u16 } else { 20 };
    question.extend(length.to_ne_bytes());
    question.extend(RTA_DST.to_ne_bytes());
    question.extend(octets);
    question
}
