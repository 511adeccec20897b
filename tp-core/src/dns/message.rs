//! DNS messages as far as routing them needs it: the question, the id, the response code.
//!
//! Everything else of a message that is not for the cluster is carried as it came. Total: any bytes are fine.

use super::{Name, rtype};

pub const NOERROR: u8 = 0;
pub const FORMERR: u8 = 1;
pub const SERVFAIL: u8 = 2;
pub const NXDOMAIN: u8 = 3;
pub const REFUSED: u8 = 5;

const HEADER: usize = 12;
/// What we say we take in one datagram: what fits everywhere without fragments.
pub const EDNS_PAYLOAD: u16 = 1232;

/// What a client wants to know.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Question {
    /// `None`: the root, or a name that no cluster has.
    pub name: Option<Name>,
    pub rtype: u16,
    pub recursion_desired: bool,
}

/// What a message is for us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// One question about the internet.
    Query(Question),
    /// Some other request (update, notify, class CHAOS, several questions): the server that was asked will know.
    Other,
    /// No request: a response, or too short to be answered.
    NoRequest,
}

pub fn read(message: &[u8]) -> Message {
    if message.len() < HEADER || is_response(message) {
        return Message::NoRequest;
    }
    let opcode = message[2] >> 3 & 0x0f;
    match question(message) {
        Some(raw) if opcode == 0 && raw.class == 1 => Message::Query(Question {
            name: Name::from_labels(raw.labels.iter().copied()),
            rtype: raw.rtype,
            recursion_desired: message[2] & 1 != 0,
        }),
        _ => Message::Other,
    }
}

pub fn id(message: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(..2)?.try_into().ok()?))
}

pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(at) = message.get_mut(..2) {
        at.copy_from_slice(&id.to_be_bytes());
    }
}

/// The response code of a response, without EDNS's upper bits.
pub fn rcode(message: &[u8]) -> Option<u8> {
    message.get(3).map(|flags| flags & 0x0f)
}

/// Whether `response` is an answer to `request` (of which the id was changed to `id`), and not a stray or forged one.
/// A server that did not understand the question may leave it out.
pub fn answers(request: &[u8], id_sent: u16, response: &[u8]) -> bool {
    if response.len() < HEADER || !is_response(response) || id(response) != Some(id_sent) {
        return false;
    }
    match (question(request), question(response)) {
        (Some(asked), Some(answered)) => asked.same(&answered),
        (None, _) => true,
        (Some(_), None) => count(response, 4) == 0 && rcode(response) != Some(NOERROR),
    }
}

/// The shortest response to a request: nothing but a response code. With EDNS if the request has it, as a client
/// would otherwise think that we do not speak it.
pub fn failure(request: &[u8], rcode: u8) -> Vec<u8> {
    let question = question(request);
    let end = question.as_ref().map_or(HEADER, |question| question.end);
    let mut response: Vec<u8> = request.get(..end).unwrap_or(request).to_vec();
    response.resize(end.max(HEADER), 0);
    response[2] = 0x80 | request.get(2).copied().unwrap_or(0) & 0x79; // QR; opcode and RD as they were
    response[3] = 0x80 | request.get(3).copied().unwrap_or(0) & 0x10 | rcode & 0x0f; // RA; CD as it was
    response[4..HEADER].fill(0);
    response[5] = u8::from(question.is_some());
    if question.is_some() && has_edns(request, end) {
        response[11] = 1;
        let [high, low] = EDNS_PAYLOAD.to_be_bytes();
        response.extend([0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
    }
    response
}

fn is_response(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

fn count(message: &[u8], at: usize) -> u16 {
    message.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Clients put the OPT record first: no other record is seen in the additional section of a request.
fn has_edns(request: &[u8], end: usize) -> bool {
    let no_records = count(request, 6) == 0 && count(request, 8) == 0;
    let [high, low] = rtype::OPT.to_be_bytes();
    no_records && count(request, 10) > 0 && request.get(end..end + 3) == Some(&[0, high, low])
}

/// The only question of a message, in its own bytes.
struct RawQuestion<'a> {
    labels: Vec<&'a [u8]>,
    rtype: u16,
    class: u16,
    end: usize,
}

impl RawQuestion<'_> {
    /// Servers may change the case of a name, nothing else.
    fn same(&self, other: &RawQuestion<'_>) -> bool {
        (self.rtype, self.class, self.labels.len()) == (other.rtype, other.class, other.labels.len())
            && self.labels.iter().zip(&other.labels).all(|(a, b)| a.eq_ignore_ascii_case(b))
    }
}

fn question(message: &[u8]) -> Option<RawQuestion<'_>> {
    if count(message, 4) != 1 {
        return None;
    }
    let mut labels = Vec::new();
    let mut at = HEADER;
    let mut name_len = 1;
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1;
        // A question is the first name of a message: there is nothing that a compressed one could point to.
        if len > 63 {
            return None;
        }
        if len == 0 {
            break;
        }
        name_len += len + 1;
        if name_len > 255 {
            return None;
        }
        labels.push(message.get(at..at + len)?);
        at += len;
    }
    let fixed: [u8; 4] = message.get(at..at + 4)?.try_into().ok()?;
    let rtype = u16::from_be_bytes([fixed[0], fixed[1]]);
    let class = u16::from_be_bytes([fixed[2], fixed[3]]);
    Some(RawQuestion { labels, rtype, class, end: at + 4 })
}

#[cfg(test)]
mod tests;
