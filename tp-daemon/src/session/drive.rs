//! Carries out what tp-core's session decides, and tells it what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tp_core::cluster::ClusterView;
use tp_core::session::{Action, Input, Remain, Session};
use tp_proto::cluster::view_from_wire;
use tp_proto::manager::{ClientInfo, RemainRequest, SessionInfo};

use super::Shared;
use super::arrive::Peer;
use crate::flows::Exit;

/// A goodbye that is not heard is no reason to stay.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Driver {
    peer: Peer,
    client: ClientInfo,
    exit: watch::Sender<Option<Exit>>,
    shared: Arc<Shared>,
    views: watch::Sender<Option<ClusterView>>,
    quit: CancellationToken,
    inputs: (mpsc::Sender<Input>, mpsc::Receiver<Input>),
}

impl Driver {
    pub(super) fn new(
        peer: Peer,
        client: ClientInfo,
        exit: watch::Sender<Option<Exit>>,
        shared: Arc<Shared>,
        views: watch::Sender<Option<ClusterView>>,
        quit: CancellationToken,
    ) -> Self {
        Self { peer, client, exit, shared, views, quit, inputs: mpsc::channel(16) }
    }

    /// Runs until the user quits. `unknown` hears of tunnel streams that the manager refused for want of a session.
    pub(super) async fn run(mut self, mut unknown: mpsc::Receiver<()>) {
        let mut session = Session::new(Instant::now());
        loop {
            session.handle_timeout(Instant::now());
            while let Some(action) = session.poll_action() {
                self.carry_out(action).await;
            }
            self.publish(&session);
            let timeout = session.poll_timeout();
            let timer = async {
                match timeout {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let input = tokio::select! {
                () = timer => continue,
                Some(input) = self.inputs.1.recv() => input,
                Some(()) = unknown.recv() => Input::SessionUnknown,
                () = self.quit.cancelled() => break,
            };
            session.handle(input, Instant::now());
        }
        session.handle(Input::Quit, Instant::now());
        while let Some(action) = session.poll_action() {
            self.carry_out(action).await;
        }
        self.publish(&session);
    }

    /// Flows use the current session id; without a session they wait.
    fn publish(&self, session: &Session) {
        let state = session.state();
        let id = session.id().unwrap_or_default().to_owned();
        let exit = session.id().map(|id| Exit { tunnels: self.peer.tunnels.clone(), session: id.to_owned() });
        self.exit.send_if_modified(|current| {
            let changed =
                current.as_ref().map(|exit| &exit.session) != exit.as_ref().map(|exit| &exit.session);
            if changed {
                *current = exit;
            }
            changed
        });
        self.shared.update(|now| {
            now.state = state;
            now.session = id;
        });
    }

    async fn carry_out(&self, action: Action) {
        let mut client = self.peer.client.clone();
        let inputs = self.inputs.0.clone();
        let shared = Arc::clone(&self.shared);
        let within = self.peer.answer_within;
        match action {
            Action::Arrive => {
                let info = self.client.clone();
                self.ask(async move {
                    match limited(within, client.arrive_as_client(info)).await {
                        Ok(answer) => Input::Arrived { session: answer.session_id },
                        Err(status) => {
                            tracing::warn!(%status, "the manager gave no session");
                            shared.update(|now| {
                                now.last_error = Some(format!("joining the manager: {}", status.message()));
                            });
                            Input::ArriveFailed
                        }
                    }
                });
            }
            Action::Remain { session } => {
                let request = RemainRequest { session: Some(session_info(session)) };
                self.ask(async move {
                    Input::Remained(match limited(within, client.remain(request)).await {
                        Ok(()) => Remain::Ok,
                        Err(status) if status.code() == Code::NotFound => Remain::Unknown,
                        Err(status) => {
                            tracing::warn!(%status, "the manager does not answer");
                            shared.update(|now| {
                                now.last_error =
                                    Some(format!("the manager does not answer: {}", status.message()));
                            });
                            Remain::Unreachable
                        }
                    })
                });
            }
            Action::WatchCluster { session } => {
                self.ask(async move {
                    if let Err(status) = watch_cluster(&mut client, session, &inputs).await {
                        tracing::warn!(%status, "the reports of the cluster's networks broke off");
                    }
                    Input::ClusterWatchEnded
                });
            }
            Action::Follow(view) => {
                self.views.send_replace(Some(*view));
            }
            Action::Depart { session } => {
                let goodbye = client.depart(session_info(session));
                if !matches!(tokio::time::timeout(GOODBYE_WITHIN, goodbye).await, Ok(Ok(_))) {
                    tracing::info!("the manager did not hear our goodbye; the session expires there");
                }
            }
        }
    }

    fn ask(&self, question: impl Future<Output = Input> + Send + 'static) {
        let inputs = self.inputs.0.clone();
        let quit = self.quit.clone();
        tokio::spawn(async move {
            tokio::select! {
                // the driver has gone: so has the question
                input = question => { let _ = inputs.send(input).await; }
                () = quit.cancelled() => {}
            }
        });
    }
}

async fn watch_cluster(
    client: &mut tp_proto::client::ManagerClient,
    session: String,
    inputs: &mpsc::Sender<Input>,
) -> Result<(), Status> {
    let mut reports = client.watch_cluster_info(session_info(session)).await?.into_inner();
    while let Some(report) = reports.message().await? {
        if inputs.send(Input::Cluster(Box::new(view_from_wire(&report)))).await.is_err() {
            break;
        }
    }
    Ok(())
}

pub(super) fn session_info(session: String) -> SessionInfo {
    SessionInfo { session_id: session, ..SessionInfo::default() }
}

/// `timeouts.trafficManagerAPI`.
pub(super) async fn limited<T>(
    within: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(within, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!("no answer within {within:?}"))),
    }
}
