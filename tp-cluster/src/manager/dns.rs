//! LookupDNS: a name as a pod of the client's namespace would resolve it.

mod hosts;
mod upstream;
mod wire;

use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tp_core::lookup::SearchPath;

pub(super) use hosts::Hosts;
pub(super) use upstream::Upstream;
pub(super) use wire::{Answer, Rcode};

/// All of a lookup, search list included. A resolver that waits longer has asked its next server by then.
const LIMIT: Duration = Duration::from_secs(3);

/// Lookups at a time, for all clients; more wait, within their limit.
const CONCURRENT: usize = 512;

/// TTL of every record (facts/telepresence-wire.md §6.1): pods come and go.
const TTL: u32 = 4;

#[derive(Debug)]
pub(super) struct Names {
    path: SearchPath,
    hosts: Hosts,
    upstream: Option<Upstream>,
    /// Whether the upstream servers know the cluster's domain. A machine's own servers do not, and names of ours would
    /// only tell strangers what runs here.
    upstream_knows_domain: bool,
    lookups: Semaphore,
}

/// What one absolute name gave.
enum Found {
    Records(Vec<u8>),
    /// The name exists, without a record of this type.
    NoData,
    NoName,
    Failed,
}

impl Names {
    pub(super) fn new(
        path: SearchPath,
        hosts: Hosts,
        upstream: Option<Upstream>,
        upstream_knows_domain: bool,
    ) -> Self {
        Self { path, hosts, upstream, upstream_knows_domain, lookups: Semaphore::new(CONCURRENT) }
    }

    /// Without a trailing dot.
    pub(super) fn domain(&self) -> &str {
        self.path.domain()
    }

    /// Never fails: what goes wrong is in the answer's code.
    pub(super) async fn lookup(&self, name: &str, rtype: u32, namespace: &str) -> Answer {
        let Some(rtype) =
            u16::try_from(rtype).ok().map(RecordType::from).filter(|rtype| is_supported(*rtype))
        else {
            return Answer::empty(Rcode::NotImplemented);
        };
        let Some(asked) = wire::parse_name(name) else { return Answer::empty(Rcode::FormatError) };
        let deadline = Instant::now() + LIMIT;
        let search = async {
            // never closed
            let _slot = self.lookups.acquire().await;
            self.search(&asked, rtype, &self.path.candidates(name, namespace)).await
        };
        let answer = tokio::time::timeout_at(deadline, search).await;
        let answer = answer.unwrap_or_else(|_| Answer::empty(Rcode::ServerFailure));
        tracing::debug!(name, %rtype, namespace, rcode = ?answer.rcode, bytes = answer.rrs.len(), "lookup");
        answer
    }

    async fn search(&self, asked: &Name, rtype: RecordType, candidates: &[String]) -> Answer {
        let (mut exists, mut failed) = (false, false);
        for candidate in candidates {
            // too long or with an empty label once the suffix is appended
            let Some(candidate) = wire::parse_name(candidate) else { continue };
            match self.find(asked, &candidate, rtype).await {
                Found::Records(rrs) => return Answer { rcode: Rcode::NoError, rrs: rrs.into() },
                Found::NoData if self.is_host(&candidate, rtype).await => {
                    return Answer::empty(Rcode::NoError);
                }
                Found::NoData => exists = true,
                Found::NoName => {}
                Found::Failed => failed = true,
            }
        }
        Answer::empty(match (failed, exists) {
            (true, _) => Rcode::ServerFailure,
            (false, true) => Rcode::NoError,
            (false, false) => Rcode::NoName,
        })
    }

    /// Whether `name` has an address. A name without the wanted record ends the search only then: `NAMESPACE.svc.DOMAIN`
    /// exists too, but the single label NAMESPACE may still be a host elsewhere on the search list.
    async fn is_host(&self, name: &Name, except: RecordType) -> bool {
        for rtype in [RecordType::A, RecordType::AAAA] {
            if rtype != except && matches!(self.find(name, name, rtype).await, Found::Records(_)) {
                return true;
            }
        }
        false
    }

    async fn find(&self, asked: &Name, candidate: &Name, rtype: RecordType) -> Found {
        if let Some(records) = self.hosts.find(candidate, rtype) {
            return match records.is_empty() {
                true => Found::NoData,
                false => encoded(wire::encode(&records, candidate, asked, TTL)),
            };
        }
        let Some(upstream) = &self.upstream else { return Found::NoName };
        if !self.upstream_knows_domain && self.path.is_cluster_name(&candidate.to_ascii()) {
            return Found::NoName;
        }
        match upstream.query(candidate, rtype).await {
            Ok(records) => encoded(wire::encode(&records, candidate, asked, TTL)),
            Err(upstream::Negative::NoData) => Found::NoData,
            Err(upstream::Negative::NoName) => Found::NoName,
            // a cluster's DNS that asks nobody else fails for what is not its own; no single label is a name out there
            Err(upstream::Negative::Failed) if candidate.num_labels() <= 1 => Found::NoName,
            Err(upstream::Negative::Failed) => Found::Failed,
        }
    }
}

fn encoded(rrs: Result<Vec<u8>, hickory_proto::ProtoError>) -> Found {
    match rrs {
        Ok(rrs) => Found::Records(rrs),
        Err(error) => {
            tracing::warn!(%error, "an answer cannot be encoded");
            Found::Failed
        }
    }
}

/// The types a client forwards (facts/telepresence-wire.md §6.1).
fn is_supported(rtype: RecordType) -> bool {
    matches!(
        rtype,
        RecordType::A
            | RecordType::AAAA
            | RecordType::CNAME
            | RecordType::MX
            | RecordType::NS
            | RecordType::PTR
            | RecordType::SRV
            | RecordType::TXT
    )
}
