//! One question to the kernel over netlink, answered at once: no waiting, and so no runtime.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use rtnetlink::packet_core::{NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer};

pub(super) use nix::sys::socket::SockProtocol as Protocol;

/// `nlmsghdr`.
const HEADER: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub(super) fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }
}

/// The first message of the answer, without its header; an error of the kernel's is that `io::Error`.
pub(super) fn ask(protocol: SockProtocol, kind: u16, payload: &[u8]) -> io::Result<Vec<u8>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    let length = HEADER + payload.len();
    let mut request = vec![0; length];
    let mut header = NetlinkBuffer::new(&mut request[..]);
    header.set_length(u32::try_from(length).map_err(io::Error::other)?);
    header.set_message_type(kind);
    header.set_flags(NLM_F_REQUEST);
    request[HEADER..].copy_from_slice(payload);
    sendto(socket.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = vec![0; 8192];
    let len = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    read(answer.get(..len).unwrap_or_default())
}

fn read(datagram: &[u8]) -> io::Result<Vec<u8>> {
    let message = NetlinkBuffer::new_checked(datagram).map_err(io::Error::other)?;
    let payload = message.payload();
    if message.message_type() == NLMSG_ERROR {
        let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
        return Err(io::Error::from_raw_os_error(-code));
    }
    Ok(payload.to_vec())
}
