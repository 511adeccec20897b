//! What the daemon's process, its privileges and its control socket are built around. The tests put something simpler
//! in its place.

use std::future::Future;
use std::io;

use tp_core::config::Config;
use tp_proto::daemon::{ConnectRequest, Sink, StatusReply};

use crate::dataplane::{Choice, MapDump};
use crate::failure::Failure;
use crate::progress::Progress;

/// Work for one thread.
pub type ThreadWork = fn() -> io::Result<()>;

/// The privileged set-up, and one connection made with it.
pub trait Backend: Sized + Send + Sync + 'static {
    type Session: Session;

    /// As root, in a process that has no other thread yet.
    fn prepare(choice: Choice) -> Result<Self, Failure>;

    /// Runs `work` in each thread that `prepare` started: capabilities are a thread's own.
    fn in_other_threads(&self, work: ThreadWork) -> io::Result<()>;

    /// Interfaces that may outlive a daemon that was killed: the janitor's work.
    fn interfaces(&self) -> &'static [&'static str];

    /// As the invoking user, in the runtime. The future may be dropped: the daemon ends then.
    fn connect(
        self,
        request: ConnectRequest,
        progress: Progress,
    ) -> impl Future<Output = Result<Self::Session, Failure>> + Send;
}

/// A standing connection.
pub trait Session: Send + Sync + 'static {
    /// What the session knows of itself; the control socket adds the process.
    fn status(&self) -> StatusReply;

    /// Whether a second `tp connect` asks for this very connection.
    fn serves(&self, request: &ConnectRequest) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// The settings that hold.
    fn config(&self) -> Config;

    /// Something to measure against, at the other end.
    fn open_sink(&self) -> impl Future<Output = Result<Sink, Failure>> + Send;

    fn dump(&self, map: Option<&str>) -> io::Result<Vec<MapDump>>;

    /// Leaves the cluster and undoes what the backend did to the host.
    fn quit(self) -> impl Future<Output = ()> + Send;
}
