//! Record types, by what they mean for us.

pub const A: u16 = 1;
pub const NS: u16 = 2;
pub const CNAME: u16 = 5;
pub const SOA: u16 = 6;
pub const PTR: u16 = 12;
pub const MX: u16 = 15;
pub const TXT: u16 = 16;
pub const AAAA: u16 = 28;
pub const SRV: u16 = 33;
pub const OPT: u16 = 41;
pub const HTTPS: u16 = 65;

/// Types that the manager looks up (facts/telepresence-wire.md §6).
pub fn in_cluster(rtype: u16) -> bool {
    matches!(rtype, A | NS | CNAME | PTR | MX | TXT | AAAA | SRV)
}

/// Types that describe a zone, not a host. Validating resolvers ask for them of `com` and of every other top-level
/// domain, so a short name with such a type is never meant for the cluster.
pub fn of_zone(rtype: u16) -> bool {
    // NS, SOA; DS, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, CDS, CDNSKEY, CSYNC, ZONEMD; IXFR, AXFR
    matches!(rtype, NS | SOA | 43 | 46 | 47 | 48 | 50 | 51 | 59 | 60 | 62 | 63 | 251 | 252)
}

/// The other address family.
pub fn sibling(rtype: u16) -> Option<u16> {
    match rtype {
        A => Some(AAAA),
        AAAA => Some(A),
        _ => None,
    }
}
