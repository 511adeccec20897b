//! The sink: the far end of `tp bench`, as `tp-traffic sink` and inside the manager on demand. What it understands is
//! `tp-core/src/sink.rs`.

mod conversation;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
/// The largest datagram there is.
const DATAGRAM: usize = 65_535;
/// Until those that are under way at the end are dropped.
const GRACE: Duration = Duration::from_millis(200);

/// A sink that listens, with TCP and UDP on one port.
#[derive(Debug)]
pub struct Sink {
    tcp: TcpListener,
    udp: UdpSocket,
    address: SocketAddr,
    connections: usize,
    used: Arc<Used>,
}

/// Grows with everything that is done with the sink.
#[derive(Debug, Default)]
struct Used(AtomicU64);

/// `tp-traffic sink`: serves until the process is ended.
pub async fn run(listen: SocketAddr) -> Result<()> {
    let sink = Sink::bind(listen, usize::MAX).with_context(|| {
        format!(
            "cannot listen on {listen}\n\nhint: another program may listen there; port 0 takes a free one"
        )
    })?;
    // the line that a script waits for
    println!("{}", sink.address);
    sink.serve(std::future::pending()).await;
    Ok(())
}

impl Sink {
    /// Listens; port 0 takes one that is free for both.
    pub(crate) fn bind(listen: SocketAddr, connections: usize) -> io::Result<Self> {
        let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        let tcp = socket.listen(BACKLOG)?;
        let address = tcp.local_addr()?;
        let udp = std::net::UdpSocket::bind(address)?;
        udp.set_nonblocking(true)?;
        let udp = UdpSocket::from_std(udp)?;
        Ok(Self { tcp, udp, address, connections, used: Arc::default() })
    }

    /// Serves until `end`; then nothing is left of it.
    pub(crate) async fn serve(self, end: impl Future<Output = ()>) {
        let tasks = TaskTracker::new();
        let (tcp, udp) = (self.accept(&tasks), self.echo());
        tokio::select! {
            () = tcp => {}
            () = udp => {}
            () = end => {}
        }
        tasks.close();
        let _ = tokio::time::timeout(GRACE, tasks.wait()).await;
    }

    async fn accept(&self, tasks: &TaskTracker) {
        let room = Arc::new(Semaphore::new(self.connections.min(Semaphore::MAX_PERMITS)));
        loop {
            let accepted = self.tcp.accept().await;
            self.used.count();
            match (accepted, Arc::clone(&room).try_acquire_owned()) {
                (Ok((stream, _)), Ok(slot)) => {
                    let used = Arc::clone(&self.used);
                    tasks.spawn(async move {
                        // the peer sees for itself that the connection broke
                        let _ = conversation::hold(stream).await;
                        used.count();
                        drop(slot);
                    });
                }
                // too many: closed at once
                (Ok(_), Err(_)) => {}
                (Err(error), _) => {
                    tracing::warn!(%error, "the sink cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn echo(&self) {
        let mut datagram = vec![0; DATAGRAM];
        loop {
            match self.udp.recv_from(&mut datagram).await {
                Ok((length, from)) => {
                    self.used.count();
                    // one that cannot be sent now is lost, as datagrams are
                    let _ = self.udp.try_send_to(&datagram[..length], from);
                }
                // an ICMP error of an earlier datagram
                Err(error) => tracing::debug!(%error, "the sink's UDP socket"),
            }
        }
    }
}

impl Used {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
