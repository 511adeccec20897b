//! The cluster's names as a DNS server: what hickory-server calls a request handler.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use hickory_server::net::NetError;
use hickory_server::net::runtime::{Time, TokioTime};
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Metadata, ResponseCode};
use hickory_server::proto::rr::{Name as WireName, RData, Record};
use hickory_server::proto::serialize::binary::BinEncoder;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageResponse, MessageResponseBuilder};
use tp_core::addr::AppAddr;
use tp_core::dns::message::{EDNS_PAYLOAD, FORMERR, NOERROR, NXDOMAIN, Question, failure};
use tp_core::dns::{Name, Rules, Target, rtype};
use tp_core::flow::Proto;

use super::lookups::{Authority, Found, Lookups};
use super::mapped;
use super::translate::{self, Translation};

/// `tp-self-check.CLUSTER-DOMAIN` is answered with our own address, without asking the cluster: whoever gets it has
/// reached us.
pub(super) const SELF_CHECK: &str = "tp-self-check";

pub(super) struct Zone {
    lookups: Lookups,
    translation: Arc<dyn Translation>,
    addresses: Vec<IpAddr>,
    self_check: RwLock<Option<Name>>,
    /// For names that stand for others; `None` before the first.
    rules: RwLock<Option<Arc<Rules>>>,
    loop_check: Name,
}

impl Zone {
    /// `loop_check`: a name that nobody has, see [`Lookups::check_for_loops`].
    pub(super) fn new(
        lookups: Lookups,
        translation: Arc<dyn Translation>,
        addresses: Vec<IpAddr>,
        loop_check: Name,
    ) -> Self {
        let (self_check, rules) = (RwLock::new(None), RwLock::new(None));
        Self { lookups, translation, addresses, self_check, rules, loop_check }
    }

    pub(super) async fn check_for_loops(&self) {
        self.lookups.check_for_loops(&self.loop_check).await;
    }

    /// Names may mean something else from now on.
    pub(super) fn changed(&self, rules: &Arc<Rules>, lookup_timeout: Duration) {
        let name = rules.cluster_domain().and_then(|domain| Name::parse(&format!("{SELF_CHECK}.{domain}")));
        *self.self_check.write().unwrap_or_else(PoisonError::into_inner) = name;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(rules));
        self.lookups.start_again(lookup_timeout);
    }

    /// The name that tells whether a query reaches us.
    pub(super) fn self_check(&self) -> Option<Name> {
        self.self_check.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The response to a query for a name that may be the cluster's.
    pub(super) async fn answer(&self, query: &[u8], app: AppAddr, proto: Proto) -> Vec<u8> {
        let protocol = match proto {
            Proto::Udp => Protocol::Udp,
            Proto::Tcp => Protocol::Tcp,
        };
        let Ok(request) = Request::from_bytes(query.to_vec(), app.0, protocol) else {
            return failure(query, FORMERR);
        };
        let slot = Slot::new(match proto {
            Proto::Udp => request.max_payload(),
            Proto::Tcp => u16::MAX,
        });
        self.handle_request::<_, TokioTime>(&request, slot.clone()).await;
        slot.take().unwrap_or_else(|| failure(query, tp_core::dns::message::SERVFAIL))
    }

    async fn find(&self, query: &[u8]) -> Arc<Found> {
        let refused = || Arc::new(Found { rcode: FORMERR, records: Vec::new() });
        let tp_core::dns::message::Message::Query(Question { name: Some(name), rtype, .. }) =
            tp_core::dns::message::read(query)
        else {
            return refused();
        };
        if self.self_check().is_some_and(|check| check == name) {
            return Arc::new(self.own_addresses(&name, rtype));
        }
        if name == self.loop_check {
            self.lookups.looped();
            return Arc::new(Found { rcode: NXDOMAIN, records: Vec::new() });
        }
        if let Some(target) = self.mapped(&name) {
            let authority = self.authority(&name);
            let found = mapped::find(&self.lookups, &name, &target, rtype, authority).await;
            return translate::answer(found, &*self.translation);
        }
        let authority = self.authority(&name);
        if let Some(behind) = translate::question(&name, rtype, &*self.translation) {
            return translate::renamed(&*self.lookups.find(&behind, rtype, authority).await, &name);
        }
        let find = async |rtype| {
            translate::answer(self.lookups.find(&name, rtype, authority).await, &*self.translation)
        };
        match rtype {
            // ANY is answered with addresses: no one who asks it today wants more
            255 => find(rtype::A).await,
            supported if rtype::in_cluster(supported) => find(supported).await,
            // Whether the name exists is all that there is to say, and the app asks for its addresses anyway.
            _ => {
                let reverse = name.as_str().ends_with(".arpa");
                let of = if reverse { rtype::PTR } else { rtype::A };
                let exists = self.lookups.find(&name, of, authority).await;
                Arc::new(Found { rcode: exists.rcode, records: Vec::new() })
            }
        }
    }

    fn mapped(&self, name: &Name) -> Option<Target> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.as_ref()?.mapped(name).cloned()
    }

    fn authority(&self, name: &Name) -> Authority {
        let check = self.self_check();
        let domain = check.and_then(|check| Name::parse(check.as_str().split_once('.')?.1));
        match domain {
            Some(domain) if name.is_under(&domain) => Authority::Cluster,
            _ => Authority::Anybody,
        }
    }

    fn own_addresses(&self, name: &Name, rtype: u16) -> Found {
        let Ok(owner) = WireName::from_ascii(name.fqdn()) else {
            return Found { rcode: NOERROR, records: Vec::new() };
        };
        let of_type =
            self.addresses.iter().filter(|ip| rtype == if ip.is_ipv4() { rtype::A } else { rtype::AAAA });
        let record = |ip: &IpAddr| {
            let data = match ip {
                IpAddr::V4(v4) => RData::A((*v4).into()),
                IpAddr::V6(v6) => RData::AAAA((*v6).into()),
            };
            Record::from_rdata(owner.clone(), 0, data)
        };
        Found { rcode: NOERROR, records: of_type.map(record).collect() }
    }
}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zone").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl RequestHandler for Zone {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut to: R,
    ) -> ResponseInfo {
        let found = self.find(request.as_slice()).await;
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.recursion_available = true;
        metadata.authentic_data = false;
        metadata.response_code = ResponseCode::from(0, found.rcode);
        let records = in_the_clients_case(request, &found.records);
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(EDNS_PAYLOAD).set_version(0).set_dnssec_ok(asked.flags().dnssec_ok);
            if asked.version() > 0 {
                metadata.response_code = ResponseCode::BADVERS;
                edns.set_rcode_high(ResponseCode::BADVERS.high());
            }
            edns
        });
        let answers = if metadata.response_code == ResponseCode::BADVERS { &[] } else { records.as_slice() };
        let response = MessageResponseBuilder::new(&request.queries, edns.as_ref()).build(
            metadata,
            answers,
            &[],
            &[],
            &[],
        );
        to.send_response(response).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "an answer of the cluster could not be encoded");
            ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
        })
    }
}

/// The manager answers in lower case; a client that mixes the case of its questions wants it back.
fn in_the_clients_case(request: &Request, records: &[Record]) -> Vec<Record> {
    let mut records = records.to_vec();
    if let [query] = request.queries.queries() {
        let asked = query.original().name();
        for record in records.iter_mut().filter(|record| record.name == *asked) {
            record.name = asked.clone();
        }
    }
    records
}

/// Keeps the response, encoded and truncated to what the client takes.
#[derive(Clone, Debug)]
struct Slot {
    max: u16,
    response: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Slot {
    fn new(max: u16) -> Self {
        Self { max, response: Arc::default() }
    }

    fn take(&self) -> Option<Vec<u8>> {
        self.response.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait::async_trait]
impl ResponseHandler for Slot {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let mut bytes = Vec::with_capacity(512);
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(self.max);
        let info = response.destructive_emit(&mut encoder)?;
        *self.response.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
        Ok(info)
    }
}
