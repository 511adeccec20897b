//! Addresses that apps know under virtual ones: answers of the cluster on their way to the app, and reverse questions
//! on their way to the cluster.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_server::proto::rr::{Name as WireName, RData, Record};
use tp_core::dns::message::SERVFAIL;
use tp_core::dns::{Name, reverse, rtype};

use super::lookups::Found;

/// Which cluster addresses have virtual ones. The session implements it.
pub trait Translation: Send + Sync {
    /// What an app is told in place of a cluster address; `None`: the address itself.
    fn to_app(&self, cluster: IpAddr) -> Result<Option<IpAddr>, NoneLeft>;

    /// What a virtual address stands for; `None`: it stands for nothing, or is none.
    fn to_cluster(&self, vip: IpAddr) -> Option<IpAddr>;
}

/// Every virtual address is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no virtual address is left")]
pub struct NoneLeft;

/// What the app hears of the cluster's answer.
pub(super) fn answer(found: Arc<Found>, translation: &dyn Translation) -> Arc<Found> {
    let mut changed = false;
    let mut records = Vec::with_capacity(found.records.len());
    for record in &found.records {
        let ip = match &record.data {
            RData::A(v4) => IpAddr::V4(v4.0),
            RData::AAAA(v6) => IpAddr::V6(v6.0),
            _ => {
                records.push(record.clone());
                continue;
            }
        };
        match translation.to_app(ip) {
            Ok(None) => records.push(record.clone()),
            Ok(Some(vip)) => {
                changed = true;
                records.push(with_address(record, vip));
            }
            Err(error) => {
                tracing::error!(name = %record.name, %ip, %error, "a name of the cluster cannot be answered");
                return Arc::new(Found { rcode: SERVFAIL, records: Vec::new() });
            }
        }
    }
    if changed { Arc::new(Found { rcode: found.rcode, records }) } else { found }
}

/// The reverse name that the cluster knows, when an app asks for that of a virtual address.
pub(super) fn question(name: &Name, rtype: u16, translation: &dyn Translation) -> Option<Name> {
    if rtype != rtype::PTR {
        return None;
    }
    let cluster = translation.to_cluster(reverse::address(name)?)?;
    Name::parse(&reverse::name(cluster))
}

/// The answer to [`question`], under the name that the app asked for.
pub(super) fn renamed(found: &Found, asked: &Name) -> Arc<Found> {
    let mut records = found.records.clone();
    if let Ok(owner) = WireName::from_ascii(asked.fqdn()) {
        for record in &mut records {
            record.name = owner.clone();
        }
    }
    Arc::new(Found { rcode: found.rcode, records })
}

/// Same family: a name that has both gets one virtual address of each.
fn with_address(record: &Record, ip: IpAddr) -> Record {
    let mut record = record.clone();
    record.data = match ip {
        IpAddr::V4(v4) => RData::A(v4.into()),
        IpAddr::V6(v6) => RData::AAAA(v6.into()),
    };
    record
}
