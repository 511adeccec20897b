//! Sinks for `tp bench`, opened for a session that asks. A sink listens on loopback, where nobody but this process finds
//! it: clients are given an address that they route to us, and what they dial there ends in the sink.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tonic::{Request, Response, Status};
use tp_core::addr::{ClusterAddr, ip_to_bytes, unmapped};
use tp_proto::bench::bench_server::Bench;
use tp_proto::bench::{OpenSinkReply, OpenSinkRequest};

use super::Shared;
use crate::sink::Sink;

/// Open at a time. Whoever measures wants the way for himself anyway.
const MOST: usize = 16;
/// Of one sink. A session has no more flows, unless it is allowed more than is usual.
const CONNECTIONS: usize = 20_000;
/// A sink that nobody uses closes.
const UNUSED: Duration = Duration::from_secs(600);

/// Where clients find the sinks of this manager.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Offer {
    /// Addresses that clients route to this manager.
    pub(super) addresses: Vec<IpAddr>,
    /// Of the manager, in the cluster's DNS.
    pub(super) name: String,
}

/// Those that are open, by session.
#[derive(Debug)]
pub(super) struct Sinks {
    /// `None`: there are to be none.
    offer: Option<Offer>,
    open: Mutex<HashMap<String, SocketAddr>>,
}

impl Sinks {
    pub(super) fn new(offer: Option<Offer>) -> Self {
        Self { offer, open: Mutex::default() }
    }

    /// Where a flow of the session really ends, if it is to its sink.
    pub(super) fn at(&self, session: &str, destination: ClusterAddr) -> Option<ClusterAddr> {
        let offer = self.offer.as_ref()?;
        let listening = *self.lock().get(session)?;
        let is_sink =
            destination.port() == listening.port() && offer.addresses.contains(&unmapped(destination.ip()));
        is_sink.then(|| ClusterAddr::new(listening.ip(), listening.port()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, SocketAddr>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Debug)]
pub(super) struct BenchService(pub(super) Arc<Shared>);

#[tonic::async_trait]
impl Bench for BenchService {
    async fn open_sink(&self, request: Request<OpenSinkRequest>) -> Result<Response<OpenSinkReply>, Status> {
        let session = request.into_inner().session_id;
        let (sinks, sessions) = (&self.0.sinks, &self.0.sessions);
        let Some(offer) = &sinks.offer else {
            return Err(Status::failed_precondition("this manager is told to open no sink"));
        };
        if sessions.client(&session).is_none() {
            return Err(Status::not_found("this manager does not know the session"));
        }
        let port = self.open(&session)?;
        Ok(Response::new(OpenSinkReply {
            addresses: offer.addresses.iter().map(|ip| ip_to_bytes(*ip).into()).collect(),
            port: port.into(),
            name: offer.name.clone(),
        }))
    }
}

impl BenchService {
    /// The port of the session's sink.
    fn open(&self, session: &str) -> Result<u16, Status> {
        let mut open = self.0.sinks.lock();
        if let Some(listening) = open.get(session) {
            return Ok(listening.port());
        }
        if open.len() >= MOST {
            return Err(Status::resource_exhausted("too many clients measure at this moment"));
        }
        let ended = self.0.sessions.ended(session);
        let ended = ended.ok_or_else(|| Status::not_found("this manager does not know the session"))?;
        let sink = Sink::bind((Ipv4Addr::LOCALHOST, 0).into(), CONNECTIONS)
            .map_err(|error| Status::unavailable(format!("the manager cannot open a sink: {error}")))?;
        let listening = sink.address();
        open.insert(session.to_owned(), listening);
        tracing::info!(session, %listening, "sink opened");
        let (shared, session) = (Arc::clone(&self.0), session.to_owned());
        tokio::spawn(async move {
            let unused = sink.unused(UNUSED);
            let stopping = shared.stopping.begun.clone();
            sink.serve(async {
                tokio::select! {
                    () = ended.cancelled() => {}
                    () = unused => {}
                    () = stopping.cancelled() => {}
                }
            })
            .await;
            shared.sinks.lock().remove(&session);
            tracing::info!(session, %listening, "sink closed");
        });
        Ok(listening.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_is_found_by_its_session_at_its_address_only() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let sinks =
            Sinks::new(Some(Offer { addresses: vec![ip("10.9.0.1"), ip("fd00::1")], name: String::new() }));
        sinks.lock().insert("one".to_owned(), "127.0.0.1:7000".parse().unwrap());
        let at = |session, to, port| sinks.at(session, ClusterAddr::new(ip(to), port));
        let listening = Some(ClusterAddr::new(ip("127.0.0.1"), 7000));
        assert_eq!(at("one", "10.9.0.1", 7000), listening);
        assert_eq!(at("one", "::ffff:10.9.0.1", 7000), listening);
        assert_eq!(at("one", "fd00::1", 7000), listening);
        for (session, to, port) in
            [("two", "10.9.0.1", 7000), ("one", "10.9.0.2", 7000), ("one", "10.9.0.1", 7001)]
        {
            assert_eq!(at(session, to, port), None, "{session} {to} {port}");
        }
    }
}
