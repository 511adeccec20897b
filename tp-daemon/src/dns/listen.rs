//! The sockets of the DNS server: queries in, responses out, so many at a time.
//!
//! hickory-server's own socket loops can only send what they have encoded themselves. Answers of the machine's own
//! servers must reach the app as they came, so its request handler ([`super::zone`]) serves the cluster's names
//! behind these loops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tp_core::addr::AppAddr;
use tp_core::dns::Verdict;
use tp_core::dns::message::{SERVFAIL, failure};
use tp_core::flow::Proto;

use super::respond::{Query, Responder};
use super::upstream::{MAX_MESSAGE, connect, read_message, write_message};

/// Queries that are answered at the same time. More wait in the sockets' buffers.
const MAX_QUERIES: usize = 1024;
const MAX_CONNECTIONS: usize = 256;
/// Of one connection, at the same time.
const MAX_PIPELINED: u32 = 32;
/// A TCP connection without a query or an answer for this long is closed.
const IDLE: Duration = Duration::from_secs(15);

/// Serves until `stop`.
pub(super) async fn udp(socket: UdpSocket, responder: Arc<Responder>, stop: CancellationToken) {
    let socket = Arc::new(socket);
    let permits = Arc::new(Semaphore::new(MAX_QUERIES));
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let (len, from) = tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok(received) => received,
                // the error of an earlier answer to an app that has gone
                Err(error) => {
                    tracing::debug!(%error, "receiving a DNS query");
                    continue;
                }
            },
            () = stop.cancelled() => return,
        };
        let message = buffer[..len].to_vec();
        let (socket, responder) = (Arc::clone(&socket), Arc::clone(&responder));
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let query = Query { message: &message, app: AppAddr(from), proto: Proto::Udp };
            if let Some(verdict) = responder.judge(&message) {
                let response = responder.respond(query, verdict).await;
                if let Err(error) = socket.send_to(&response, from).await {
                    tracing::debug!(app = %from, %error, "sending a DNS response");
                }
            }
            drop(permit);
        }));
    }
}

/// Serves until `stop`.
pub(super) async fn tcp(listener: TcpListener, responder: Arc<Responder>, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, from)) => {
                let responder = Arc::clone(&responder);
                tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
                    if let Err(error) = connection(stream, from, responder).await {
                        tracing::debug!(app = %from, %error, "a DNS connection");
                    }
                    drop(permit);
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a DNS connection");
                // out of descriptors: others must be closed first
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

type Writer = Arc<Mutex<OwnedWriteHalf>>;

/// One client's connection. Queries for the machine's own servers all go down one connection to the server that was
/// asked, and what comes back is passed on as it is: transfers of whole zones work, and so do answers out of order.
async fn connection(stream: TcpStream, from: SocketAddr, responder: Arc<Responder>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let mut read = BufReader::new(read);
    let write: Writer = Arc::new(Mutex::new(write));
    let pipelined = Arc::new(Semaphore::new(MAX_PIPELINED as usize));
    let app = AppAddr(from);
    let mut own_server: Option<OwnServer> = None;
    loop {
        let message = tokio::select! {
            message = next_message(&mut read) => match message? {
                Some(message) => message,
                None => break,
            },
            () = ended(&own_server) => break,
        };
        let Some(verdict) = responder.judge(&message) else { break };
        if verdict == Verdict::Upstream {
            let forwarded = match &mut own_server {
                Some(server) => server.send(&message).await,
                None => match OwnServer::connect(&responder, app, Arc::clone(&write)).await {
                    Ok(server) => own_server.insert(server).send(&message).await,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = forwarded {
                tracing::debug!(%app, %error, "the machine's own DNS server over TCP");
                write_message(&mut *write.lock().await, &failure(&message, SERVFAIL)).await?;
            }
            continue;
        }
        let Ok(permit) = Arc::clone(&pipelined).acquire_owned().await else { break };
        let (responder, write) = (Arc::clone(&responder), Arc::clone(&write));
        tokio::spawn(async move {
            let query = Query { message: &message, app, proto: Proto::Tcp };
            let response = responder.respond(query, verdict).await;
            if let Err(error) = write_message(&mut *write.lock().await, &response).await {
                tracing::debug!(%app, %error, "sending a DNS response");
            }
            drop(permit);
        });
    }
    // A client that has sent its last query still waits for the answers.
    let _ = timeout(IDLE, pipelined.acquire_many(MAX_PIPELINED)).await;
    if let Some(server) = own_server {
        server.finish().await;
    }
    Ok(())
}

async fn next_message(read: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Vec<u8>>> {
    timeout(IDLE, read_message(read)).await.unwrap_or(Ok(None))
}

async fn ended(server: &Option<OwnServer>) {
    match server {
        Some(server) => server.ended.cancelled().await,
        None => std::future::pending().await,
    }
}

/// The client's connection to the server that it asked, continued.
struct OwnServer {
    write: OwnedWriteHalf,
    copying: AbortOnDropHandle<()>,
    ended: CancellationToken,
}

impl OwnServer {
    async fn connect(responder: &Responder, app: AppAddr, client: Writer) -> io::Result<Self> {
        let (mut read, write) = connect(&responder.servers(app, Proto::Tcp)).await?.into_split();
        let ended = CancellationToken::new();
        let on_end = ended.clone().drop_guard();
        let copying = tokio::spawn(async move {
            let _on_end = on_end;
            while let Ok(Some(message)) = read_message(&mut read).await {
                if write_message(&mut *client.lock().await, &message).await.is_err() {
                    break;
                }
            }
        });
        Ok(Self { write, copying: AbortOnDropHandle::new(copying), ended })
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        write_message(&mut self.write, message).await
    }

    /// Tells the server that nothing more comes, and waits for its last answers.
    async fn finish(self) {
        drop(self.write);
        let _ = timeout(IDLE, self.copying).await;
    }
}
