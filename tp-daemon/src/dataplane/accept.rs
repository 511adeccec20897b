//! Admitted SYNs become connections of the listener: which connection is whose.
//!
//! An app of this machine completes its handshake while its SYN is being written to the TUN, so the flow's own task
//! finds the connection there and accepts it: nobody wakes up for it. Only for a handshake that takes longer (an app
//! behind this machine) is there a task that the listener wakes.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, TcpStream as StdTcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tp_core::addr::{AppAddr, ClusterAddr, unmapped};

use crate::dataplane::counts::Count;
use crate::dataplane::held::Id;
use crate::dataplane::maps::lock;
use crate::dataplane::shared::Shared;
use crate::dataplane::sys;

/// The place of an admitted SYN among those whose connection has not been accepted yet.
pub(super) struct Turn<'a> {
    shared: &'a Shared,
    listener: &'a Listener,
    ends: Ends,
    id: Id,
    accepted: Option<oneshot::Receiver<StdTcpStream>>,
}

type Ends = (AppAddr, ClusterAddr);

impl<'a> Turn<'a> {
    /// To be taken before the SYN is written.
    pub(super) fn take(shared: &'a Shared, ends: Ends, id: Id) -> io::Result<Self> {
        let family = usize::from(ends.0.0.is_ipv6());
        let listener = shared.listeners.get(family).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let (sender, accepted) = oneshot::channel();
        lock(&shared.accepting).push(ends, Waiting { id, accepted: sender });
        Ok(Self { shared, listener, ends, id, accepted: Some(accepted) })
    }

    /// The SYN's connection.
    pub(super) async fn connection(mut self) -> io::Result<StdTcpStream> {
        if let Ok(stream) = accept_until(self.shared, &self.listener.socket, Some(self.id)) {
            self.accepted = None;
            return Ok(stream);
        }
        self.listener.wake_when_ready()?;
        let Some(accepted) = &mut self.accepted else { return Err(io::ErrorKind::NotConnected.into()) };
        let stream = accepted.await.map_err(io::Error::other)?;
        self.accepted = None;
        Ok(stream)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.accepted.is_none() {
            return;
        }
        lock(&self.shared.accepting).forget(&self.ends, self.id);
        // Its connection may come all the same, and somebody must reset it then.
        if let Err(error) = self.listener.wake_when_ready() {
            tracing::debug!(%error, "a connection that nobody waits for stays until the next one");
        }
    }
}

/// Where the connections of one address family come out.
pub(super) struct Listener {
    socket: OwnedFd,
    /// Watches the socket once each time it is told to: a connection that its own flow accepts wakes nobody.
    once: AsyncFd<OwnedFd>,
}

impl Listener {
    pub(super) fn new(listener: StdTcpListener) -> io::Result<Self> {
        // Its connections inherit it: the far end's pace is not ours to change.
        SockRef::from(&listener).set_tcp_nodelay(true)?;
        let (socket, once) = (OwnedFd::from(listener), epoll::create(CreateFlags::CLOEXEC)?);
        epoll::add(&once, &socket, EventData::new_u64(0), EventFlags::ONESHOT)?; // nothing to hear of yet
        Ok(Self { socket, once: sys::watch(once, Interest::READABLE)? })
    }

    /// Wakes [`accept`] at the next connection, or at once if there is one.
    fn wake_when_ready(&self) -> io::Result<()> {
        let once = EventFlags::IN | EventFlags::ONESHOT;
        Ok(epoll::modify(self.once.get_ref(), &self.socket, EventData::new_u64(0), once)?)
    }

    /// Waits for what [`Listener::wake_when_ready`] announces.
    async fn ready(&self) -> io::Result<()> {
        self.once
            .async_io(Interest::READABLE, |once| {
                let mut events = Vec::with_capacity(1);
                let spare = rustix::buffer::spare_capacity(&mut events);
                match epoll::wait(once, spare, Some(&rustix::event::Timespec::default()))? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                }
            })
            .await
    }
}

/// Admitted SYNs whose connection has not come out of the listener yet. More than one has the same ends when the app
/// has reset a connection and uses its port again before we have accepted the first.
#[derive(Default)]
pub(super) struct Accepting(HashMap<Ends, VecDeque<Waiting>>);

struct Waiting {
    id: Id,
    accepted: oneshot::Sender<StdTcpStream>,
}

impl Accepting {
    fn push(&mut self, ends: Ends, waiting: Waiting) {
        self.0.entry(ends).or_default().push_back(waiting);
    }

    /// In the order in which they were admitted, which is that of their handshakes.
    fn pop(&mut self, ends: &Ends) -> Option<Waiting> {
        let queue = self.0.get_mut(ends)?;
        let first = queue.pop_front();
        if queue.is_empty() {
            self.0.remove(ends);
        }
        first
    }

    fn forget(&mut self, ends: &Ends, id: Id) {
        if let Some(queue) = self.0.get_mut(ends) {
            queue.retain(|waiting| waiting.id != id);
            if queue.is_empty() {
                self.0.remove(ends);
            }
        }
    }
}

/// Accepts what no flow accepts at once.
pub(super) async fn accept(shared: Arc<Shared>, listener: usize) {
    let Some(listener) = shared.listeners.get(listener) else { return };
    loop {
        let accepted = match listener.ready().await {
            Ok(()) => accept_until(&shared, &listener.socket, None).map(drop),
            Err(error) => Err(error),
        };
        match accepted {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                // Out of descriptors, or a connection that ended before it was accepted.
                tracing::warn!(%error, "accepting a connection in the private namespace");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            _ if lock(&shared.accepting).0.is_empty() => continue,
            _ => {}
        }
        if let Err(error) = listener.wake_when_ready() {
            tracing::warn!(%error, "watching the listener in the private namespace");
        }
    }
}

/// Accepts what is complete and hands each to the SYN it belongs to, until it is the turn of `wanted`. The error says
/// why there are no more; `wanted` may have been given its connection by another task.
fn accept_until(shared: &Shared, listener: &OwnedFd, wanted: Option<Id>) -> io::Result<StdTcpStream> {
    loop {
        // From accept to hand-over: tasks that accept at the same time must not change the order.
        let mut accepting = lock(&shared.accepting);
        let (stream, app) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
        let stream = StdTcpStream::from(stream);
        let ends = app.and_then(|app| SocketAddr::try_from(app).ok()).zip(stream.local_addr().ok());
        let waiting = ends.and_then(|(app, cluster)| {
            accepting.pop(&(
                AppAddr::new(unmapped(app.ip()), app.port()),
                ClusterAddr::new(unmapped(cluster.ip()), cluster.port()),
            ))
        });
        let refused = match waiting {
            Some(waiting) if Some(waiting.id) == wanted => return Ok(stream),
            Some(waiting) => waiting.accepted.send(stream).err(),
            None => Some(stream),
        };
        if let Some(stream) = refused {
            shared.counts.up(Count::Unexpected);
            // Closing it is a reset then.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
    }
}
