//! Cluster names are looked up by the manager, on behalf of our session.

use std::sync::Arc;

use tonic::Code;
use tp_proto::manager::DnsRequest;

use super::Shared;
use super::arrive::Peer;
use super::drive::{limited, session_info};
use crate::dns::{Answer, ClusterLookup, Looking, LookupError};

pub(super) struct ManagerLookup {
    peer: Peer,
    shared: Arc<Shared>,
}

impl ManagerLookup {
    pub(super) fn new(peer: Peer, shared: Arc<Shared>) -> Self {
        Self { peer, shared }
    }
}

impl ClusterLookup for ManagerLookup {
    fn lookup(&self, name: &str, rtype: u16) -> Looking {
        let (mut client, within) = (self.peer.client.clone(), self.peer.answer_within);
        let session = session_info(self.shared.get().session);
        let request = DnsRequest { session: Some(session), name: name.to_owned(), r#type: rtype.into() };
        Box::pin(async move {
            match limited(within, client.lookup_dns(request)).await {
                Ok(answer) => Ok(Answer { rcode: answer.r_code, records: answer.rrs }),
                Err(status) if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) => {
                    Err(LookupError::Unreachable)
                }
                Err(status) => Err(LookupError::Failed(status.message().to_owned())),
            }
        })
    }
}
