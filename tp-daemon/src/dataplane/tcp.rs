//! Held SYNs: the verdict goes back through the TUN, the connection comes out of the listener.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tp_core::addr::{AppAddr, ClusterAddr, unmapped};
use tp_core::dial::DialError;
use tp_core::flow::Flow;

use crate::dataplane::counts::Count;
use crate::dataplane::held::Id;
use crate::dataplane::maps::lock;
use crate::dataplane::shared::{Accepting, Shared, Started};
use crate::dataplane::{AppStream, Guard, Hold, Pending};

/// The handshake needs one round trip through the app's kernel: after this time the app has gone.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

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
        lock(&shared.held).connected(&self.flow, self.id);
        shared.maps.block.established(&self.flow);
        shared.counts.up(Count::Admitted);
        stream.set_nodelay(true)?; // the far end's pace is not ours to change
        Ok(AppStream::new(stream, guard))
    }

    /// Writes the very SYN that was held; the kernel does the rest.
    async fn connect(&self, started: &Started, packets: &[Vec<u8>]) -> io::Result<TcpStream> {
        let key = (started.flow.app, started.cluster);
        let (sender, accepted) = oneshot::channel();
        let waiting = Accepting { id: started.id, accepted: sender };
        lock(&self.shared.accepting).entry(key).or_default().push_back(waiting);
        let _forget = scope_end(|| {
            let mut accepting = lock(&self.shared.accepting);
            if let Some(queue) = accepting.get_mut(&key) {
                queue.retain(|waiting| waiting.id != started.id);
                if queue.is_empty() {
                    accepting.remove(&key);
                }
            }
        });
        for packet in packets {
            self.shared.tun.write_back(packet).await?;
        }
        match tokio::time::timeout(HANDSHAKE, accepted).await {
            Ok(Ok(stream)) => Ok(stream),
            _ => {
                self.shared.counts.up(Count::AppGone);
                Err(io::Error::new(io::ErrorKind::TimedOut, "the app did not complete the handshake"))
            }
        }
    }
}

/// Also when the future that waits is dropped.
fn scope_end(at_end: impl FnOnce()) -> impl Drop {
    struct AtEnd<F: FnOnce()>(Option<F>);
    impl<F: FnOnce()> Drop for AtEnd<F> {
        fn drop(&mut self) {
            if let Some(at_end) = self.0.take() {
                at_end();
            }
        }
    }
    AtEnd(Some(at_end))
}

/// Hands every accepted connection to the SYN it belongs to.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, app)) => deliver(&shared, stream, app),
            Err(error) => {
                // Out of descriptors, or a connection that ended before it was accepted.
                tracing::warn!(%error, "accepting a connection in the private namespace");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn deliver(shared: &Shared, stream: TcpStream, app: SocketAddr) {
    let Ok(cluster) = stream.local_addr() else { return };
    let key = (
        AppAddr::new(unmapped(app.ip()), app.port()),
        ClusterAddr::new(unmapped(cluster.ip()), cluster.port()),
    );
    // In the order in which they were admitted, which is that of their handshakes.
    let waiting = lock(&shared.accepting).get_mut(&key).and_then(VecDeque::pop_front);
    let refused = match waiting {
        Some(waiting) => waiting.accepted.send(stream).err(),
        None => Some(stream),
    };
    if let Some(stream) = refused {
        shared.counts.up(Count::Unexpected);
        AppStream::new(stream, Guard::default()).reset();
    }
}
