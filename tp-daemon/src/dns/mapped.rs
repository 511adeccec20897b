//! Names that stand for an address, or for another name of the cluster: `dns.mappings`.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_server::proto::rr::rdata::CNAME;
use hickory_server::proto::rr::{Name as WireName, RData, Record};
use tp_core::dns::cache::POSITIVE;
use tp_core::dns::message::{NOERROR, SERVFAIL};
use tp_core::dns::{Name, Target, rtype};

use super::lookups::{Authority, Found, Lookups};

/// What is known of `name`, which stands for `target`.
pub(super) async fn find(
    lookups: &Lookups,
    name: &Name,
    target: &Target,
    rtype: u16,
    authority: Authority,
) -> Arc<Found> {
    let Ok(owner) = WireName::from_ascii(name.fqdn()) else { return none(SERVFAIL) };
    match target {
        Target::Address(ip) => Arc::new(Found { rcode: NOERROR, records: address(owner, *ip, rtype) }),
        Target::Name(other) => {
            // ANY is answered with addresses, as for every other name
            let rtype = if rtype == ANY { rtype::A } else { rtype };
            if !rtype::in_cluster(rtype) {
                return none(NOERROR);
            }
            let found = lookups.find(other, rtype, authority).await;
            let Ok(canonical) = WireName::from_ascii(other.fqdn()) else { return none(SERVFAIL) };
            let mut records = vec![Record::from_rdata(owner, ttl(), RData::CNAME(CNAME(canonical)))];
            records.extend(found.records.iter().cloned());
            Arc::new(Found { rcode: found.rcode, records })
        }
    }
}

const ANY: u16 = 255;

/// The other family's question, or one for something else: the name exists, and has no such record.
fn address(owner: WireName, ip: IpAddr, rtype: u16) -> Vec<Record> {
    let data = match (ip, rtype) {
        (IpAddr::V4(v4), rtype::A | ANY) => RData::A(v4.into()),
        (IpAddr::V6(v6), rtype::AAAA | ANY) => RData::AAAA(v6.into()),
        _ => return Vec::new(),
    };
    vec![Record::from_rdata(owner, ttl(), data)]
}

fn none(rcode: u8) -> Arc<Found> {
    Arc::new(Found { rcode, records: Vec::new() })
}

fn ttl() -> u32 {
    u32::try_from(POSITIVE.as_secs()).unwrap_or(1)
}
