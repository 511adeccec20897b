//! The sink: the far end of `tp bench`, as `tp-traffic sink` and inside the manager on demand. What it understands is
//! `tp-core/src/sink.rs`.

mod conversation;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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

/// What is done with the sink.
#[derive(Debug, Default)]
struct Used {
    /// Grows with everything.
    things: AtomicU64,
    open: AtomicUsize,
}

/// `tp-traffic sink`: serves until the process is ended.
pub async fn run(listen: SocketAddr) -> Result<()> {
    let sink = Sink::bind(listen, usize::MAX).with_context(|| {
        format!(
            "cannot listen on {listen}\n\nhint: another program may listen there; port 0 takes a free one"
        )
    })?;
    // the line that a script waits for
    println!("{}", sink.address);
    // on a worker: woken here, each datagram would wait for another thread
    tokio::spawn(sink.serve(std::future::pending())).await?;
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

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends when for so long nothing has been done with the sink and no connection is open.
    pub(crate) fn unused(&self, long: Duration) -> impl Future<Output = ()> + use<> {
        let used = Arc::clone(&self.used);
        async move {
            loop {
                let before = used.things.load(Ordering::Relaxed);
                tokio::time::sleep(long).await;
                if used.open.load(Ordering::Relaxed) == 0 && used.things.load(Ordering::Relaxed) == before {
                    return;
                }
            }
        }
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
                    used.open.fetch_add(1, Ordering::Relaxed);
                    tasks.spawn(async move {
                        // the peer sees for itself that the connection broke
                        let _ = conversation::hold(stream).await;
                        used.open.fetch_sub(1, Ordering::Relaxed);
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
        self.things.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;
    use tp_core::sink::Blocks;

    use super::*;

    /// A sink that serves until the returned sender is dropped.
    fn serving() -> (SocketAddr, tokio::sync::oneshot::Sender<()>) {
        let sink = Sink::bind(([127, 0, 0, 1], 0).into(), 2).unwrap();
        let (address, (stop, stopped)) = (sink.address(), tokio::sync::oneshot::channel());
        tokio::spawn(sink.serve(async { drop(stopped.await) }));
        (address, stop)
    }

    /// All that comes back of `bytes`, until the sink closes.
    async fn answer(to: SocketAddr, bytes: &[u8], half_close: bool) -> Vec<u8> {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        if half_close {
            stream.shutdown().await.unwrap();
        }
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        all
    }

    #[tokio::test]
    async fn every_mode_does_what_it_is_for() {
        let (to, _stop) = serving();
        assert_eq!(answer(to, b"d12345", true).await, 5u64.to_be_bytes());
        let blocks = [b"b", &Blocks::block()[..], &Blocks::END].concat();
        assert_eq!(answer(to, &blocks, false).await, (blocks.len() as u64 - 1).to_be_bytes());
        assert_eq!(answer(to, b"ehello", true).await, b"hello");
        assert_eq!(answer(to, b"t\x01\x02\x00", false).await, [1, 2, 0]);
        for nothing in [&b"x"[..], b"?what", b"bab", b""] {
            assert_eq!(answer(to, nothing, true).await, b"", "{nothing:?}");
        }
        // a source stops when it is told
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(b"s").await.unwrap();
        stream.read_exact(&mut vec![0; 1 << 20]).await.unwrap();
        stream.write_all(b"!").await.unwrap();
        let rest = timeout(Duration::from_secs(10), stream.read_to_end(&mut Vec::new())).await;
        rest.expect("it stops").unwrap();
    }

    #[tokio::test]
    async fn more_connections_than_allowed_are_closed_at_once() {
        let (to, _stop) = serving();
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(to).await.unwrap();
            stream.write_all(b"t\x01").await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
            held.push(stream);
        }
        let mut third = TcpStream::connect(to).await.unwrap();
        assert!(matches!(third.read(&mut [0]).await, Ok(0) | Err(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_is_unused_when_nobody_holds_a_connection() {
        let sink = Sink::bind(([127, 0, 0, 1], 0).into(), 2).unwrap();
        let long = Duration::from_secs(600);
        let used = Arc::clone(&sink.used);
        let unused = tokio::spawn(sink.unused(long));
        used.open.store(1, Ordering::Relaxed);
        tokio::time::sleep(long * 3).await;
        assert!(!unused.is_finished(), "a connection is open");
        used.open.store(0, Ordering::Relaxed);
        used.count();
        tokio::time::sleep(long / 2).await;
        assert!(!unused.is_finished(), "it has just been used");
        tokio::time::sleep(long * 2).await;
        assert!(unused.is_finished());
    }
}
