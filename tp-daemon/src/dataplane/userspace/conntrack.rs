//! Whose address stands behind a translated one: connection tracking is asked, over netlink.

use std::io;
use std::net::IpAddr;

use tp_core::addr::ip_from_bytes;
use tp_core::flow::Flow;

use crate::dataplane::userspace::guard::answers;
use crate::dataplane::userspace::question::{self, Family};

const NETFILTER: question::Protocol = question::Protocol::NetlinkNetFilter;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`
const GET: u16 = 0x101;
const NESTED: u16 = 0x8000;
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const V4_SRC: u16 = 1;
const V4_DST: u16 = 2;
const V6_SRC: u16 = 3;
const V6_DST: u16 = 4;
const PROTO_NUM: u16 = 1;
const PROTO_SRC_PORT: u16 = 2;
const PROTO_DST_PORT: u16 = 3;
/// `nfgenmsg`.
const FIXED: usize = 4;

/// The source address that the flow's first packet had when it reached this machine; `None` if nobody keeps track of it.
pub(super) fn original_source(flow: &Flow) -> io::Result<Option<IpAddr>> {
    match question::ask(NETFILTER, GET, &request(flow)) {
        Ok(answer) => Ok(source(&answer)),
        // no such entry, no such module, or not for us to ask
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EPROTONOSUPPORT | libc::EINVAL)) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn request(flow: &Flow) -> Vec<u8> {
    let (from, to) = answers(flow);
    let (source, dest) = if from.is_ipv4() { (V4_SRC, V4_DST) } else { (V6_SRC, V6_DST) };
    let ip = [attribute(source, &octets(from.ip())), attribute(dest, &octets(to.ip()))].concat();
    let proto = [
        attribute(PROTO_NUM, &[flow.proto.number()]),
        attribute(PROTO_SRC_PORT, &from.port().to_be_bytes()),
        attribute(PROTO_DST_PORT, &to.port().to_be_bytes()),
    ]
    .concat();
    let tuple = [attribute(TUPLE_IP | NESTED, &ip), attribute(TUPLE_PROTO | NESTED, &proto)].concat();
    let mut request = vec![Family::of(from.ip()).number(), 0, 0, 0];
    request.extend(attribute(TUPLE_REPLY | NESTED, &tuple));
    request
}

fn source(answer: &[u8]) -> Option<IpAddr> {
    let tuple = find(answer.get(FIXED..)?, TUPLE_ORIG)?;
    let ip = find(tuple, TUPLE_IP)?;
    ip_from_bytes(find(ip, V4_SRC).or_else(|| find(ip, V6_SRC))?)
}

fn octets(ip: IpAddr) -> Vec<u8> {
    tp_core::addr::ip_to_bytes(ip)
}

/// Length, kind, contents, and zeros up to a multiple of four.
fn attribute(kind: u16, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len() + 4).unwrap_or(u16::MAX); // ours are short
    let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    attribute.extend(contents);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.get(0..2)?.first_chunk()?));
        let kind = u16::from_ne_bytes(*attributes.get(2..4)?.first_chunk()?) & !NESTED;
        let contents = attributes.get(4..length)?;
        if kind == wanted {
            return Some(contents);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tp_core::addr::{AppAddr, DestAddr};
    use tp_core::flow::Proto;

    use super::*;

    #[test]
    fn the_original_source_is_read_out_of_an_answer() {
        for (app, dest) in [("198.18.0.1:4000", "10.96.0.1:80"), ("[fd74::1]:4000", "[fd96::1]:80")] {
            let flow = Flow {
                app: AppAddr(app.parse().unwrap()),
                dest: DestAddr(dest.parse().unwrap()),
                proto: Proto::Tcp,
            };
            // the question with the other tuple in it looks like an answer
            let mut answer = request(&flow);
            answer[6] = 1;
            assert_eq!(source(&answer), Some(flow.dest.ip()));
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_panic(bytes: Vec<u8>) {
            source(&bytes);
        }
    }
}
