//! Just enough of the DNS message format to answer A, AAAA and CNAME-less questions.
use std::net::IpAddr;

#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) kind: u16,
    /// The bytes of the question section, to be sent back as they came.
    raw: Vec<u8>,
    head: [u8; 4],
}

pub(crate) const A: u16 = 1;
pub(crate) const AAAA: u16 = 28;

pub(crate) fn parse(message: &[u8]) -> Option<Question> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
    let raw = message.get(12..at + 4)?.to_vec();
    Some(Question { name: labels.join("."), kind, raw, head: message.get(..4)?.try_into().ok()? })
}

/// `None` for a name that does not exist.
pub(crate) fn answer(question: &Question, addresses: Option<&[IpAddr]>) -> Vec<u8> {
    let records: Vec<Vec<u8>> = addresses
        .unwrap_or_default()
        .iter()
        .filter_map(|address| match address {
            IpAddr::V4(v4) if question.kind == A => Some(v4.octets().to_vec()),
            IpAddr::V6(v6) if question.kind == AAAA => Some(v6.octets().to_vec()),
            _ => None,
        })
        .collect();
    let rcode = if addresses.is_none() { 3 } else { 0 };
    let mut out = vec![question.head[0], question.head[1], 0x84 | (question.head[2] & 0x01), 0x80 | rcode];
    out.extend([0, 1]);
    out.extend(u16::try_from(records.len()).unwrap_or(0).to_be_bytes());
    out.extend([0; 4]);
    out.extend(&question.raw);
    for data in records {
        out.extend([0xc0, 12]);
        out.extend(question.kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 5]);
        out.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        out.extend(data);
    }
    out
}
