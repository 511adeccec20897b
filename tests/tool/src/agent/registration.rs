//! The agent at its manager: it arrives, opens its four watches, gives signs of life, and begins anew when any of it fails.
use std::io;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status, Streaming};

use super::wire::manager::manager_client::ManagerClient;
use super::wire::manager::{AgentInfo, RemainRequest, SessionInfo};

const REMAIN_EVERY: Duration = Duration::from_secs(5);
const AGAIN_AFTER: Duration = Duration::from_secs(5);

pub(super) struct Manager {
    endpoint: Endpoint,
    token: Option<MetadataValue<Ascii>>,
}

impl Manager {
    /// `secret`: a token, and the certificate (PEM) that the manager shows.
    pub(super) fn new(url: &str, secret: Option<(String, Vec<u8>)>) -> io::Result<Self> {
        let mut endpoint = Endpoint::from_shared(url.to_owned()).map_err(io::Error::other)?;
        let mut token = None;
        if let Some((text, certificate)) = secret {
            let tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(certificate))
                .domain_name("traffic-manager");
            endpoint = endpoint.tls_config(tls).map_err(io::Error::other)?;
            token = Some(format!("Bearer {text}").parse().map_err(io::Error::other)?);
        }
        Ok(Self { endpoint, token })
    }

    /// `arrived` hears of each session.
    pub(super) async fn keep_registered(self, info: AgentInfo, mut arrived: impl FnMut(&str)) {
        loop {
            if let Err(error) = self.session(&info, &mut arrived).await {
                eprintln!("session with the manager: {error}");
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn session(
        &self,
        info: &AgentInfo,
        arrived: &mut impl FnMut(&str),
    ) -> Result<(), Box<dyn std::error::Error>> {
        let channel: Channel = self.endpoint.connect().await?;
        let token = self.token.clone();
        let channel = InterceptedService::new(channel, move |mut request: Request<()>| {
            if let Some(token) = &token {
                request.metadata_mut().insert("authorization", token.clone());
            }
            Ok(request)
        });
        let mut client = ManagerClient::new(channel);
        client.version(()).await?;
        let session = client.arrive_as_agent(info.clone()).await?.into_inner();
        let names = client.watch_lookup_dns(session.clone()).await?.into_inner();
        let dials = client.watch_dial(session.clone()).await?.into_inner();
        let levels = client.watch_log_level(()).await?.into_inner();
        let intercepts = client.watch_intercepts(session.clone()).await?.into_inner();
        arrived(&session.session_id);
        let remain = async {
            loop {
                tokio::time::sleep(REMAIN_EVERY).await;
                let session =
                    SessionInfo { session_id: session.session_id.clone(), ..SessionInfo::default() };
                if let Err(status) = client.remain(RemainRequest { session: Some(session) }).await {
                    return status;
                }
            }
        };
        // the end of the watch of intercepts is the end of the session; that of the others is not
        let status = tokio::select! {
            status = remain => status,
            status = watched(names) => status,
            status = watched(dials) => status,
            status = watched(levels) => status,
            ended = drained(intercepts) => ended.err().unwrap_or_else(|| Status::ok("the watch of intercepts ended")),
        };
        Err(status.into())
    }
}

/// Completes with an error only.
async fn watched<T>(stream: Streaming<T>) -> Status {
    match drained(stream).await {
        Err(status) => status,
        Ok(()) => std::future::pending().await,
    }
}

async fn drained<T>(mut stream: Streaming<T>) -> Result<(), Status> {
    while stream.message().await?.is_some() {}
    Ok(())
}
