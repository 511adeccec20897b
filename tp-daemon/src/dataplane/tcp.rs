//! Held SYNs: the verdict goes back through the TUN, the connection comes out of the listener.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tp_core::dial::DialError;
use tp_core::flow::Flow;

use crate::dataplane::accept::Turn;
use crate::dataplane::counts::Count;
use crate::dataplane::held::Id;
use crate::dataplane::maps::lock;
use crate::dataplane::shared::{Shared, Started};
use crate::dataplane::{AppStream, Guard, Hold, Pending};

/// The handshake needs one round trip through the app's kernel: after this time the app has gone.
const HANDSHAKE: Duration = Duration::from_secs(10);

pub(super) struct HeldSyn {
    pub(super) shared: Arc<Shared>,
    pub(super) flow: Flow,
    pub(super) id: Id,
}

impl Hold<AppStream> for HeldSyn {
    fn admit(self: Box<Self>) -> Pending<AppStream> {
        Box::pin(self.finish())
    }

    fn refuse(self: Box<Self>, cause: DialError) {
        self.shared.refuse(&self.flow, self.id, cause);
    }
}

impl HeldSyn {
    async fn finish(self: Box<Self>) -> io::Result<AppStream> {
        let shared = &self.shared;
        let started = match shared.start(self.flow, self.id) {
            Ok(started) => started,
            Err(error) => {
                shared.refuse(&self.flow, self.id, DialError::Other);
                return Err(error);
            }
        };
        let guard = {
            let shared = Arc::clone(shared);
            Guard::new(move || shared.end(&started))
        };
        let Some(packets) = lock(&shared.held).admit(&self.flow, self.id) else {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the app has given up"));
        };
        let stream = self.connect(&started, &packets).await?;
        shared.maps.block.established(&self.flow);
        shared.counts.up(Count::Admitted);
        Ok(AppStream::new(stream, guard))
    }

    /// Writes the very SYN that was held; the kernel does the rest.
    async fn connect(&self, started: &Started, packets: &[Vec<u8>]) -> io::Result<TcpStream> {
        let shared = &self.shared;
        let turn = Turn::take(shared, (started.flow.app, started.cluster), started.id)?;
        for packet in packets {
            shared.tun.write_back(packet)?;
        }
        match tokio::time::timeout(HANDSHAKE, turn.connection()).await {
            Ok(Ok(stream)) => TcpStream::from_std(stream),
            _ => {
                shared.counts.up(Count::AppGone);
                Err(io::Error::new(io::ErrorKind::TimedOut, "the app did not complete the handshake"))
            }
        }
    }
}
