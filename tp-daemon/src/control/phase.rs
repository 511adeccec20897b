//! The phases of a daemon's life: ready, connecting, connected, quitting.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tp_proto::daemon::{ConnectRequest, Failure as WireFailure, Step as WireStep};

use super::journal::{Journal, Outcome};
use crate::backend::{Backend, Session};
use crate::progress::{Progress, Step};

/// Steps that may wait to be written into the journal.
const STEPS: usize = 64;

pub(super) struct Phases<B: Backend> {
    now: Mutex<Phase<B>>,
    pub(super) journal: Journal,
    /// The first Connect has come.
    pub(super) asked: CancellationToken,
    /// Whoever waits for the connect has gone.
    pub(super) interrupted: CancellationToken,
    /// The daemon has to end.
    pub(super) end: CancellationToken,
    /// The host is as it was.
    pub(super) clean: CancellationToken,
}

enum Phase<B: Backend> {
    /// In a box, for it is much larger than the others.
    Ready(Box<B>),
    Connecting(JoinHandle<()>),
    Connected(Arc<B::Session>),
    Quitting,
}

/// What a Connect finds.
pub(super) enum Found<S> {
    /// It has started the connect.
    Started,
    /// Somebody else's is under way.
    UnderWay,
    Connected(Arc<S>),
    Quitting,
}

impl<B: Backend> Phases<B> {
    pub(super) fn new(backend: B) -> Self {
        Self {
            now: Mutex::new(Phase::Ready(Box::new(backend))),
            journal: Journal::new(),
            asked: CancellationToken::new(),
            interrupted: CancellationToken::new(),
            end: CancellationToken::new(),
            clean: CancellationToken::new(),
        }
    }

    pub(super) fn connect(self: &Arc<Self>, request: ConnectRequest) -> Found<B::Session> {
        self.asked.cancel();
        let mut now = self.lock();
        match std::mem::replace(&mut *now, Phase::Quitting) {
            Phase::Ready(backend) => {
                let connecting = Arc::clone(self).make_connection(*backend, request);
                *now = Phase::Connecting(tokio::spawn(connecting));
                Found::Started
            }
            Phase::Connecting(task) => {
                *now = Phase::Connecting(task);
                Found::UnderWay
            }
            Phase::Connected(session) => {
                *now = Phase::Connected(Arc::clone(&session));
                Found::Connected(session)
            }
            Phase::Quitting => Found::Quitting,
        }
    }

    pub(super) fn session(&self) -> Option<Arc<B::Session>> {
        match &*self.lock() {
            Phase::Connected(session) => Some(Arc::clone(session)),
            Phase::Ready(_) | Phase::Connecting(_) | Phase::Quitting => None,
        }
    }

    /// The state of a daemon that has no session to tell it.
    pub(super) fn state(&self) -> &'static str {
        match &*self.lock() {
            Phase::Ready(_) => "starting",
            Phase::Connecting(_) => "connecting",
            Phase::Connected(_) => "connected",
            Phase::Quitting => "quitting",
        }
    }

    pub(super) async fn leave(&self) {
        self.interrupted.cancel();
        let phase = std::mem::replace(&mut *self.lock(), Phase::Quitting);
        let session = match phase {
            Phase::Ready(_) | Phase::Quitting => None,
            Phase::Connected(session) => Some(session),
            Phase::Connecting(task) => {
                // it ends by itself now; its session, if it got so far, has no place left
                if let Err(error) = task.await {
                    tracing::warn!(%error, "the connect did not end well");
                }
                None
            }
        };
        if let Some(session) = session {
            match sole(session).await {
                Some(session) => session.quit().await,
                None => tracing::warn!("the session is still in use; it ends with the process"),
            }
        }
        self.journal.close(Outcome::Failed(interrupted()));
    }

    async fn make_connection(self: Arc<Self>, backend: B, request: ConnectRequest) {
        let (steps, mut written) = mpsc::channel::<Step>(STEPS);
        let connecting = backend.connect(request, Progress::new(steps));
        tokio::pin!(connecting);
        let connected = loop {
            tokio::select! {
                biased;
                () = self.interrupted.cancelled() => break Err(None),
                Some(step) = written.recv() => self.journal.step(step.into_wire()),
                connected = &mut connecting => break connected.map_err(Some),
            }
        };
        while let Ok(step) = written.try_recv() {
            self.journal.step(step.into_wire());
        }
        match connected {
            Ok(session) => self.arrive(session).await,
            Err(None) => self.fail(interrupted()),
            Err(Some(failure)) => {
                tracing::error!("{:#}", failure.error);
                self.fail(WireFailure { message: failure.message(), hint: failure.hint });
            }
        }
    }

    async fn arrive(&self, session: B::Session) {
        let session = Arc::new(session);
        let left = {
            let mut now = self.lock();
            if matches!(*now, Phase::Connecting(_)) {
                *now = Phase::Connected(Arc::clone(&session));
                false
            } else {
                true
            }
        };
        if left {
            // somebody quit in this very moment
            if let Some(session) = sole(session).await {
                session.quit().await;
            }
            return;
        }
        self.journal.close(Outcome::Connected);
    }

    fn fail(&self, failure: WireFailure) {
        self.journal.close(Outcome::Failed(failure));
        self.end.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, Phase<B>> {
        // a poisoned lock still holds a whole phase
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn interrupted() -> WireFailure {
    WireFailure { message: "the connect was interrupted".to_owned(), hint: String::new() }
}

impl Step {
    fn into_wire(self) -> WireStep {
        WireStep { name: self.name.to_owned(), detail: self.detail }
    }
}

/// The session itself, once the calls that look at it have come to their end.
async fn sole<S>(mut session: Arc<S>) -> Option<S> {
    for _ in 0..100 {
        session = match Arc::try_unwrap(session) {
            Ok(session) => return Some(session),
            Err(shared) => shared,
        };
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    None
}
