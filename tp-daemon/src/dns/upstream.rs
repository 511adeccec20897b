//! The machine's own servers: the app's very message goes there, and the very answer comes back.
//!
//! Each query has a socket of its own, connected to the server: a random port, a random id, nobody else's packets,
//! and the kernel tells when nobody listens there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ring::rand::SystemRandom;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};
use tp_core::dns::message::{answers, id, set_id};
use tp_core::flow::Proto;

/// Resolvers wait 5 s for a server. A little less, so that our failure comes before they give up: after a failure
/// they try the next server and the rest of their search list, after silence they often do not.
const PATIENCE: Duration = Duration::from_millis(4500);
/// A silent server does not keep us from asking the machine's next one.
const NEXT_SERVER_AFTER: Duration = Duration::from_millis(2500);
/// Queries that wait for an answer at the same time.
const MAX_OUTSTANDING: usize = 256;
/// The largest message there is.
pub(super) const MAX_MESSAGE: usize = 65_535;

#[derive(Debug)]
pub(super) struct Upstream {
    outstanding: Semaphore,
    random: SystemRandom,
}

impl Upstream {
    pub(super) fn new() -> Self {
        Self { outstanding: Semaphore::new(MAX_OUTSTANDING), random: SystemRandom::new() }
    }

    /// The first answer of these servers, tried in order. An error comes at once when none of them can be reached:
    /// before tp, the app would have got the same ICMP error at once, and gone on.
    pub(super) async fn ask(
        &self,
        servers: &[SocketAddr],
        query: &[u8],
        proto: Proto,
    ) -> io::Result<Vec<u8>> {
        let Ok(_permit) = self.outstanding.try_acquire() else {
            return Err(io::Error::other("too many queries wait for the machine's own DNS servers"));
        };
        let give_up = Instant::now() + PATIENCE;
        let mut servers = servers.iter();
        let mut under_way = FuturesUnordered::new();
        let mut last_error = io::Error::other("no DNS server is configured");
        loop {
            if let Some(server) = servers.next() {
                under_way.push(self.ask_one(*server, query, proto));
            }
            let next = Instant::now() + NEXT_SERVER_AFTER;
            tokio::select! {
                answered = under_way.next() => match answered {
                    Some(Ok(response)) => return Ok(response),
                    Some(Err(error)) => last_error = error,
                    None => return Err(last_error),
                },
                () = sleep_until(next), if servers.len() > 0 => {}
                () = sleep_until(give_up) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    async fn ask_one(&self, server: SocketAddr, query: &[u8], proto: Proto) -> io::Result<Vec<u8>> {
        let sent_id: [u8; 2] = ring::rand::generate(&self.random)
            .map_err(|_| io::Error::other("no random number for a query"))?
            .expose();
        let sent_id = u16::from_be_bytes(sent_id);
        let mut sent = query.to_vec();
        set_id(&mut sent, sent_id);
        let mut response = match proto {
            Proto::Udp => over_udp(server, &sent, sent_id).await?,
            Proto::Tcp => over_tcp(server, &sent, sent_id).await?,
        };
        set_id(&mut response, id(query).unwrap_or_default());
        Ok(response)
    }
}

async fn over_udp(server: SocketAddr, query: &[u8], sent_id: u16) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    loop {
        socket.readable().await?;
        // Only now: hundreds of queries may wait, and each would hold the largest message there is.
        let mut response = vec![0; MAX_MESSAGE];
        match socket.try_recv(&mut response) {
            Ok(len) => {
                response.truncate(len);
                if answers(query, sent_id, &response) {
                    response.shrink_to_fit();
                    return Ok(response);
                }
                tracing::debug!(%server, "a datagram that is no answer to our query");
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8], sent_id: u16) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    write_message(&mut stream, query).await?;
    loop {
        let response = read_message(&mut stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if answers(query, sent_id, &response) {
            return Ok(response);
        }
    }
}

/// A connection to one of the servers, tried in order.
pub(super) async fn connect(servers: &[SocketAddr]) -> io::Result<TcpStream> {
    let give_up = Instant::now() + PATIENCE;
    let mut last_error = io::Error::other("no DNS server is configured");
    for server in servers {
        match timeout_at(give_up, TcpStream::connect(server)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last_error = error,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
    Err(last_error)
}

/// The next message of a TCP connection (RFC 1035 §4.2.2); `None` at its end.
pub(super) async fn read_message(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let len = match from.read_u16().await {
        Ok(len) => len,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut message = vec![0; usize::from(len)];
    from.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// Length and message in one segment: some clients read them with one call.
pub(super) async fn write_message(to: &mut (impl AsyncWriteExt + Unpin), message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(|_| io::Error::other("a DNS message over 64 KB"))?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend(len.to_be_bytes());
    framed.extend(message);
    to.write_all(&framed).await
}
