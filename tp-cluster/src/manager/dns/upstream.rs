//! Asks the DNS servers that a pod (or, standalone, this machine) uses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};

/// Per attempt; with two attempts still less than a whole lookup may take.
const TIMEOUT: Duration = Duration::from_millis(1200);

/// Pods come and go: an answer is kept no longer than clients keep it, a "no" only for the burst of questions that one
/// connect asks.
const POSITIVE: Duration = Duration::from_secs(4);
const NEGATIVE: Duration = Duration::from_secs(1);

pub(crate) struct Upstream(TokioResolver);

/// Why there are no records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Negative {
    NoData,
    NoName,
    /// The servers failed, refused or did not answer.
    Failed,
}

impl Upstream {
    /// `None` if there is no server to ask.
    pub(crate) fn new(servers: &[SocketAddr]) -> Option<Self> {
        let servers: Vec<_> = servers.iter().map(|server| name_server(*server)).collect();
        if servers.is_empty() {
            return None;
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options();
        match builder.build() {
            Ok(resolver) => Some(Self(resolver)),
            Err(error) => {
                tracing::error!(%error, "no DNS");
                None
            }
        }
    }

    /// Asks for exactly `name`. CNAMEs on the way are part of the answer.
    pub(super) async fn query(&self, name: &Name, rtype: RecordType) -> Result<Vec<Record>, Negative> {
        match self.0.lookup(name.clone(), rtype).await {
            Ok(lookup) if lookup.answers().is_empty() => Err(Negative::NoData),
            Ok(lookup) => Ok(lookup.answers().to_vec()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => Err(negative(none.response_code)),
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Err(negative(code)),
            Err(error) => {
                tracing::debug!(%name, %rtype, %error, "upstream lookup failed");
                Err(Negative::Failed)
            }
        }
    }

    /// The name of an address, as text, if there is one.
    pub(in crate::manager) async fn reverse(&self, ip: IpAddr) -> Option<String> {
        let records = self.query(&Name::from(ip), RecordType::PTR).await.ok()?;
        records.iter().find_map(|record| match &record.data {
            RData::PTR(name) => Some(name.to_ascii().to_ascii_lowercase()),
            _ => None,
        })
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upstream")
    }
}

fn negative(code: ResponseCode) -> Negative {
    match code {
        ResponseCode::NoError => Negative::NoData,
        ResponseCode::NXDomain => Negative::NoName,
        _ => Negative::Failed,
    }
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let with_port = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(with_port).to_vec();
    NameServerConfig::new(server.ip(), true, connections)
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = TIMEOUT;
    options.attempts = 1; // after the first
    options.edns0 = true;
    options.use_hosts_file = ResolveHosts::Never;
    options.positive_max_ttl = Some(POSITIVE);
    options.negative_max_ttl = Some(NEGATIVE);
    options.preserve_intermediates = true;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.max_active_requests = 1024;
    options
}
