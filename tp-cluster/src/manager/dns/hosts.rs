//! Names that are answered without asking anyone (`--host`).

use std::collections::HashMap;
use std::net::IpAddr;

use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::{TTL, wire};

#[derive(Debug, Default)]
pub(crate) struct Hosts {
    addresses: HashMap<Name, Vec<IpAddr>>,
    /// The first name given for an address.
    names: HashMap<Name, Name>,
}

impl Hosts {
    /// Names are absolute. The error says which one is no name.
    pub(crate) fn new(entries: &[(String, IpAddr)]) -> Result<Self, String> {
        let mut hosts = Self::default();
        for (text, ip) in entries {
            let name = wire::parse_name(&text.to_ascii_lowercase()).ok_or_else(|| text.clone())?;
            hosts.names.entry(Name::from(*ip)).or_insert_with(|| name.clone());
            hosts.addresses.entry(name).or_default().push(*ip);
        }
        Ok(hosts)
    }

    /// With a name of the manager itself, unless it is taken. The address keeps its other name, where it has one.
    pub(crate) fn with_own(mut self, name: &str, ip: IpAddr) -> Self {
        if let Some(name) = wire::parse_name(name) {
            self.addresses.entry(name).or_insert_with(|| vec![ip]);
        }
        self
    }

    /// `None`: no such name here. An empty list: the name has no record of this type.
    pub(super) fn find(&self, name: &Name, rtype: RecordType) -> Option<Vec<Record>> {
        let record = |data| Record::from_rdata(name.clone(), TTL, data);
        if let Some(host) = self.names.get(name) {
            let is_asked = rtype == RecordType::PTR;
            return Some(is_asked.then(|| record(RData::PTR(PTR(host.clone())))).into_iter().collect());
        }
        let addresses = self.addresses.get(name)?.iter();
        let data = addresses.filter_map(|ip| match (ip, rtype) {
            (IpAddr::V4(ip), RecordType::A) => Some(RData::A(A(*ip))),
            (IpAddr::V6(ip), RecordType::AAAA) => Some(RData::AAAA(AAAA(*ip))),
            _ => None,
        });
        Some(data.map(record).collect())
    }
}
