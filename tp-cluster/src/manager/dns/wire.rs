//! The records of an answer as LookupDNS carries them: RRs one after another, names not compressed, no message header
//! (facts/telepresence-wire.md §6.1).

use bytes::Bytes;
use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, Record};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

/// DNS response codes that a lookup can end with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rcode {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NoName = 3,
    NotImplemented = 4,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub rcode: Rcode,
    pub rrs: Bytes,
}

impl Answer {
    pub(super) fn empty(rcode: Rcode) -> Self {
        Self { rcode, rrs: Bytes::new() }
    }
}

/// An absolute name; `None` if it is none.
pub(super) fn parse_name(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// Encodes `records`. Those of `candidate`, the name that was found on the search list, become the name that was asked
/// for; the rest of a CNAME chain stays as it is.
pub(super) fn encode(
    records: &[Record],
    candidate: &Name,
    asked: &Name,
    ttl: u32,
) -> Result<Vec<u8>, ProtoError> {
    let mut out = Vec::with_capacity(64 * records.len());
    let mut encoder = BinEncoder::new(&mut out);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    for record in records {
        let mut record = record.clone();
        record.ttl = record.ttl.min(ttl);
        if record.name == *candidate {
            record.name = asked.clone();
        }
        record.emit(&mut encoder)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RData;
    use hickory_proto::rr::rdata::{A, CNAME, SRV, TXT};

    use super::*;

    fn name(text: &str) -> Name {
        parse_name(text).unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const ECHO: &str = "echo.default.svc.cluster.local.";

    fn a(owner: &str) -> Record {
        Record::from_rdata(name(owner), 30, RData::A(A::new(10, 96, 0, 10)))
    }

    /// facts/telepresence-wire.md, appendix A, produced by the real Go code.
    #[test]
    fn vectors() {
        let srv = SRV::new(0, 100, 80, name(ECHO));
        for (records, candidate, asked, expected) in [
            (vec![a(ECHO)], ECHO, "echo.", "046563686f00000100010000000400040a60000a"),
            (
                vec![
                    Record::from_rdata(
                        name("x.default.svc.cluster.local."),
                        5,
                        RData::CNAME(CNAME(name(ECHO))),
                    ),
                    a(ECHO),
                ],
                "x.default.svc.cluster.local.",
                "x.default.",
                "01780764656661756c740000050001000000040020046563686f0764656661756c740373766307636c7573746572056c6f63616c00\
                 046563686f0764656661756c740373766307636c7573746572056c6f63616c00000100010000000400040a60000a",
            ),
            (
                vec![Record::from_rdata(
                    name("t.default."),
                    4,
                    RData::TXT(TXT::new(vec!["a".to_owned(), "bc".to_owned()])),
                )],
                "t.default.",
                "t.default.",
                "01740764656661756c7400001000010000000400050161026263",
            ),
            (
                vec![Record::from_rdata(name("_http._tcp.echo.default."), 4, RData::SRV(srv))],
                "_http._tcp.echo.default.",
                "_http._tcp.echo.default.",
                "055f68747470045f746370046563686f0764656661756c740000210001000000040026000000640050046563686f0764656661756c\
                 740373766307636c7573746572056c6f63616c00",
            ),
        ] {
            let rrs = encode(&records, &name(candidate), &name(asked), 4).unwrap();
            assert_eq!(hex(&rrs), expected, "{asked}");
        }
    }

    #[test]
    fn a_shorter_ttl_stays() {
        let mut record = a("echo.");
        record.ttl = 1;
        assert_eq!(hex(&encode(&[record], &name("x."), &name("echo."), 4).unwrap())[20..28], *"00000001");
    }

    #[test]
    fn names() {
        assert!(parse_name("a..b.").is_none());
        assert!(parse_name(&"a.".repeat(200)).is_none());
        assert!(parse_name(&format!("{}.", "a".repeat(64))).is_none());
        assert_eq!(parse_name("echo").unwrap(), name("echo."));
        assert!(parse_name("_http._tcp.echo.").is_some());
    }
}
