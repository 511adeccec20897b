//! The RPCs of the control socket.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status};
use tp_core::invoker::Account;
use tp_proto::daemon::connect_event::Event;
use tp_proto::daemon::daemon_server::Daemon;
use tp_proto::daemon::dump_maps_reply::Map;
use tp_proto::daemon::open_sink_reply::Result as Opened;
use tp_proto::daemon::{
    ConnectEvent, ConnectRequest, DumpMapsReply, DumpMapsRequest, Failure as WireFailure, OpenSinkReply,
    StatusReply, ViewConfigReply,
};

use super::Process;
use super::journal::{Entry, Outcome};
use super::phase::{Found, Phases};
use crate::backend::{Backend, Session};
use crate::failure::Failure;

type Events = Pin<Box<dyn Stream<Item = Result<ConnectEvent, Status>> + Send>>;

pub(super) struct Service<B: Backend> {
    phases: Arc<Phases<B>>,
    process: Process,
}

/// Lets root and the invoking user in, by what the kernel says about the other end.
pub(super) fn guard(
    owner: Account,
) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone + Send + Sync + 'static {
    move |request| {
        let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        match peer {
            Some(peer) if peer.uid() == 0 || peer.uid() == owner.uid => Ok(request),
            Some(peer) => {
                tracing::warn!(uid = peer.uid(), pid = peer.pid(), "refused a caller");
                Err(Status::permission_denied(format!(
                    "the connection belongs to {} (uid {}): nobody else but root may use it",
                    owner.name, owner.uid
                )))
            }
            None => Err(Status::permission_denied("the kernel does not say who you are")),
        }
    }
}

impl<B: Backend> Service<B> {
    pub(super) fn new(phases: Arc<Phases<B>>, process: Process) -> Self {
        Self { phases, process }
    }

    fn status_now(&self) -> StatusReply {
        let mut status = match self.phases.session() {
            Some(session) => session.status(),
            None => StatusReply { state: self.phases.state().to_owned(), ..StatusReply::default() },
        };
        status.daemon_version = env!("CARGO_PKG_VERSION").to_owned();
        status.pid = std::process::id();
        status.user.clone_from(&self.process.owner.name);
        status.log_file = self.process.log_file.display().to_string();
        let notes = self.process.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        status.notes.extend(notes.iter().cloned());
        status
    }

    fn connected(&self, already: bool) -> ConnectEvent {
        ConnectEvent { event: Some(Event::Connected(self.status_now())), already }
    }

    /// Tells a caller what happens until the connect has come to its end.
    fn follow(&self, started: bool) -> Events {
        let (events, receiver) = mpsc::channel(16);
        let mut journal = self.phases.journal.read();
        let this = Self { phases: Arc::clone(&self.phases), process: self.process.clone() };
        tokio::spawn(async move {
            loop {
                let entry = tokio::select! {
                    entry = journal.next() => entry,
                    () = events.closed() => break,
                };
                let (event, last) = match entry {
                    Some(Entry::Step(step)) => {
                        (ConnectEvent { event: Some(Event::Step(step)), already: false }, false)
                    }
                    Some(Entry::Outcome(Outcome::Connected)) => (this.connected(!started), true),
                    Some(Entry::Outcome(Outcome::Failed(failure))) => (failed(failure), true),
                    None => return,
                };
                if events.send(Ok(event)).await.is_err() {
                    break;
                }
                if last {
                    return;
                }
            }
            if started {
                tracing::info!("whoever started the connect has gone");
                this.phases.interrupted.cancel();
            }
        });
        Box::pin(ReceiverStream::new(receiver))
    }
}

#[tonic::async_trait]
impl<B: Backend> Daemon for Service<B> {
    type ConnectStream = Events;

    async fn connect(&self, request: Request<ConnectRequest>) -> Result<Response<Events>, Status> {
        let request = request.into_inner();
        let events = match self.phases.connect(request.clone()) {
            Found::Started => self.follow(true),
            Found::UnderWay => self.follow(false),
            Found::Quitting => return Err(Status::unavailable("the daemon is quitting")),
            Found::Connected(session) => {
                let event = match session.serves(&request).await {
                    Ok(true) => self.connected(true),
                    Ok(false) => failed(other_target(&session.status())),
                    Err(failure) => failed(told(&failure)),
                };
                Box::pin(tokio_stream::once(Ok(event)))
            }
        };
        Ok(Response::new(events))
    }

    async fn status(&self, _request: Request<()>) -> Result<Response<StatusReply>, Status> {
        Ok(Response::new(self.status_now()))
    }

    async fn quit(&self, _request: Request<()>) -> Result<Response<()>, Status> {
        tracing::info!("asked to quit");
        self.phases.end.cancel();
        self.phases.clean.cancelled().await;
        Ok(Response::new(()))
    }

    async fn dump_maps(&self, request: Request<DumpMapsRequest>) -> Result<Response<DumpMapsReply>, Status> {
        let name = request.into_inner().map;
        let Some(session) = self.phases.session() else {
            return Err(Status::failed_precondition("there is no connection yet"));
        };
        let only = (!name.is_empty()).then_some(name.as_str());
        let maps = session.dump(only).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Status::not_found(error.to_string()),
            _ => Status::internal(error.to_string()),
        })?;
        let maps = maps.into_iter().map(|map| {
            let rows_json = serde_json::to_string(&map.rows)
                .map_err(|error| Status::internal(format!("writing the rows of {}: {error}", map.name)))?;
            Ok(Map { name: map.name.to_owned(), capacity: map.max_entries.into(), rows_json })
        });
        Ok(Response::new(DumpMapsReply { maps: maps.collect::<Result<_, Status>>()? }))
    }

    async fn view_config(&self, _request: Request<()>) -> Result<Response<ViewConfigReply>, Status> {
        let Some(session) = self.phases.session() else {
            return Err(Status::failed_precondition("there is no connection yet"));
        };
        let config = session.config();
        let rows_json = serde_json::to_string(&config.view())
            .map_err(|error| Status::internal(format!("writing the settings: {error}")))?;
        Ok(Response::new(ViewConfigReply { rows_json, notes: config.notes }))
    }

    async fn open_sink(&self, _request: Request<()>) -> Result<Response<OpenSinkReply>, Status> {
        let Some(session) = self.phases.session() else {
            return Err(Status::failed_precondition("there is no connection yet"));
        };
        let result = match session.open_sink().await {
            Ok(sink) => Opened::Sink(sink),
            Err(failure) => Opened::Failed(told(&failure)),
        };
        Ok(Response::new(OpenSinkReply { result: Some(result) }))
    }
}

fn told(failure: &Failure) -> WireFailure {
    WireFailure { message: failure.message(), hint: failure.hint.clone() }
}

fn failed(failure: WireFailure) -> ConnectEvent {
    ConnectEvent { event: Some(Event::Failed(failure)), already: false }
}

fn other_target(status: &StatusReply) -> WireFailure {
    let to = match status.context.as_str() {
        "" => format!("the manager at {}", status.server),
        context => format!("context {context} ({})", status.server),
    };
    WireFailure {
        message: format!(
            "already connected to {to}, namespace {}, which is not what you ask for",
            status.namespace
        ),
        hint: "leave it first: tp quit".to_owned(),
    }
}
