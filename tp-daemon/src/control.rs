//! The control socket's server: what `tp` asks of the daemon, and who may ask.
//!
//! A daemon has one connection in its life: it is made by the first Connect, and its end is the daemon's.

mod journal;
mod phase;
mod service;

use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tp_core::invoker::Account;
use tp_proto::daemon::daemon_server::DaemonServer;

use crate::backend::Backend;
use phase::Phases;
use service::Service;

/// A `tp` that started us asks within this time, or it is gone.
const FIRST_ASKED_WITHIN: Duration = Duration::from_secs(10);
/// Until the last answers are out.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// The process, as `tp status` shows it.
#[derive(Clone, Debug)]
pub struct Process {
    pub owner: Account,
    pub log_file: PathBuf,
    /// What is wrong with the process itself.
    pub notes: Arc<std::sync::Mutex<Vec<String>>>,
}

/// The running server.
pub struct Control<B: Backend> {
    phases: Arc<Phases<B>>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    stop: CancellationToken,
}

impl<B: Backend> Control<B> {
    /// Serves on a listener made by root.
    pub fn start(listener: StdUnixListener, backend: B, process: Process) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let phases = Arc::new(Phases::new(backend));
        let guard = service::guard(process.owner.clone());
        let service = DaemonServer::with_interceptor(Service::new(Arc::clone(&phases), process), guard);
        let connections = UnixListenerStream::new(UnixListener::from_std(listener)?);
        let server = Server::builder()
            .add_service(service)
            .serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
        Ok(Self { phases, server: tokio::spawn(server), stop })
    }

    /// Waits until the daemon has to end: somebody quit, or there is no connection to be made.
    pub async fn ended(&self) {
        let asked = tokio::time::timeout(FIRST_ASKED_WITHIN, self.phases.asked.cancelled());
        let unasked = async {
            match asked.await {
                Ok(()) => std::future::pending().await,
                Err(_) => tracing::info!("nobody asked for a connection"),
            }
        };
        tokio::select! {
            () = unasked => {}
            () = self.phases.end.cancelled() => {}
        }
    }

    /// Leaves the cluster and undoes what was done to the host. Connects that come now are told to come again.
    pub async fn leave(&self) {
        self.phases.leave().await;
    }

    /// Answers those who quit: the host is as it was.
    pub async fn finish(self) {
        self.phases.clean.cancel();
        self.stop.cancel();
        if tokio::time::timeout(LAST_ANSWERS_WITHIN, self.server).await.is_err() {
            tracing::debug!("somebody did not take our last answer");
        }
    }
}

impl<B: Backend> std::fmt::Debug for Control<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}
