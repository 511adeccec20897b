//! `telepresence.agent.Agent`.
use std::pin::Pin;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::conversation;
use super::wire::agent::agent_server::{Agent, AgentServer};
use super::wire::manager::{DialRequest, SessionInfo, TunnelMessage, VersionInfo2};

#[derive(Debug)]
pub(super) struct StandIn;

pub(super) fn server() -> AgentServer<StandIn> {
    AgentServer::new(StandIn)
}

type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Agent for StandIn {
    async fn version(&self, _: Request<()>) -> Result<Response<VersionInfo2>, Status> {
        let version = VersionInfo2 { name: "OSS Traffic Agent".to_owned(), version: "v2.20.2".to_owned() };
        Ok(Response::new(version))
    }

    type TunnelStream = Items<TunnelMessage>;

    async fn tunnel(
        &self,
        request: Request<Streaming<TunnelMessage>>,
    ) -> Result<Response<Self::TunnelStream>, Status> {
        let (tx, rx) = mpsc::channel(50);
        tokio::spawn(async move {
            if let Err(status) = conversation::run(request.into_inner(), &tx).await {
                let _ = tx.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }

    type WatchDialStream = Items<DialRequest>;

    /// Open and silent: nothing is intercepted.
    async fn watch_dial(&self, _: Request<SessionInfo>) -> Result<Response<Self::WatchDialStream>, Status> {
        let silence = tokio_stream::pending::<Result<DialRequest, Status>>();
        Ok(Response::new(Box::pin(silence.fuse())))
    }
}
