//! Questions to the kernel over rtnetlink. Answers stay raw messages: what is read out of them is up to who asked, and a
//! part that no library knows yet hides nothing.

use std::io;

use rtnetlink::packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

/// `RTM_GET*`.
pub(super) const LINKS: u16 = 18;
pub(super) const ADDRESSES: u16 = 22;
pub(super) const ROUTES: u16 = 26;
pub(super) const RULES: u16 = 34;
pub(super) const NEXT_HOPS: u16 = 106;

/// Lower numbers are netlink's own.
const FIRST_ANSWER: u16 = 16;
/// `nlmsghdr`.
const HEADER: usize = 16;
/// A dump that was interrupted by a change begins anew; a machine that changes all the time gets its last answer.
const TRIES: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    Any,
    V4,
    V6,
}

impl Family {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Any => 0,
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    pub(super) fn longest_prefix(self) -> u8 {
        if self == Self::V4 { 32 } else { 128 }
    }
}

/// A message of the kernel without its header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Message {
    pub(super) kind: u16,
    pub(super) payload: Vec<u8>,
}

/// A socket to ask with.
pub(super) struct Kernel {
    socket: TokioSocket,
    sequence: u32,
}

/// Whether there is more to an answer than what was read.
enum Read {
    More,
    Done,
}

impl Kernel {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind_auto()?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Everything of a kind.
    pub(super) async fn dump(&mut self, kind: u16, family: Family) -> io::Result<Vec<Message>> {
        let mut payload = vec![0; fixed(kind)];
        payload[0] = family.number();
        let mut found = Vec::new();
        for _ in 0..TRIES {
            self.send(kind, NLM_F_REQUEST | NLM_F_DUMP, &payload).await?;
            found.clear();
            let mut interrupted = false;
            while let Read::More = self.read(&mut found, &mut interrupted).await? {}
            if !interrupted {
                break;
            }
        }
        Ok(found)
    }

    /// The answer to one question; an error of the kernel's is that `io::Error`.
    pub(super) async fn ask(&mut self, kind: u16, payload: &[u8]) -> io::Result<Message> {
        self.send(kind, NLM_F_REQUEST, payload).await?;
        let mut found = Vec::new();
        loop {
            let read = self.read(&mut found, &mut false).await?;
            if let Some(answer) = found.pop() {
                return Ok(answer);
            }
            if let Read::Done = read {
                return Err(io::Error::other("the kernel gave no answer"));
            }
        }
    }

    async fn send(&mut self, kind: u16, flags: u16, payload: &[u8]) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = HEADER + payload.len();
        let mut request = vec![0; length];
        let mut header = NetlinkBuffer::new(&mut request[..]);
        header.set_length(u32::try_from(length).map_err(io::Error::other)?);
        header.set_message_type(kind);
        header.set_flags(flags);
        header.set_sequence_number(self.sequence);
        request[HEADER..].copy_from_slice(payload);
        self.socket.send_to(&request, &SocketAddr::new(0, 0)).await.map(drop)
    }

    async fn read(&mut self, found: &mut Vec<Message>, interrupted: &mut bool) -> io::Result<Read> {
        let (datagram, sender) = self.socket.recv_from_full().await?;
        // other programs may write to our port too
        if sender.port_number() != 0 {
            return Ok(Read::More);
        }
        for part in parts(&datagram) {
            if part.sequence != self.sequence {
                continue;
            }
            *interrupted |= part.flags & NLM_F_DUMP_INTR != 0;
            match part.kind {
                NLMSG_ERROR | NLMSG_DONE => {
                    let code = part.payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    if code < 0 {
                        return Err(io::Error::from_raw_os_error(-code));
                    }
                    return Ok(Read::Done);
                }
                // NLMSG_NOOP and NLMSG_OVERRUN
                kind if kind < FIRST_ANSWER => {}
                kind => found.push(Message { kind, payload: part.payload.to_vec() }),
            }
        }
        Ok(Read::More)
    }
}

/// How long the fixed part of a request is: `ifinfomsg`, `rtmsg` or `fib_rule_hdr`, `ifaddrmsg` or `nhmsg`. What comes
/// after it is taken for attributes.
fn fixed(kind: u16) -> usize {
    match kind {
        LINKS => 16,
        ROUTES | RULES => 12,
        _ => 8,
    }
}

/// One message in a datagram.
pub(super) struct Part<'a> {
    pub(super) kind: u16,
    flags: u16,
    sequence: u32,
    pub(super) payload: &'a [u8],
}

/// The messages of a datagram, as far as they are whole.
pub(super) fn parts(mut rest: &[u8]) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        let part = Part {
            kind: message.message_type(),
            flags: message.flags(),
            sequence: message.sequence_number(),
            payload: message.payload(),
        };
        let length = usize::try_from(message.length()).ok()?.next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_datagram_is_taken_apart_without_a_panic(bytes: Vec<u8>) {
            let length: usize = parts(&bytes).map(|part| part.payload.len() + HEADER).sum();
            prop_assert!(length <= bytes.len());
        }
    }
}
