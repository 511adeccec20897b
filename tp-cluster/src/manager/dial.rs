//! The dial: connects to what a client's app wants to reach, and says honestly why it failed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tp_core::addr::{ClusterAddr, unmapped};
use tp_core::dial::DialError;
use tp_core::flow::Proto;

/// A dialled socket.
#[derive(Debug)]
pub(super) enum Dialled {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

/// No client waits longer than this, whatever it asks for.
const LONGEST: Duration = Duration::from_secs(300);

/// A target that vanishes without a word is noticed after 10 minutes, so that its flow does not stay for ever. Rare
/// enough that no app notices.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(300);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(60);
const KEEPALIVES: u32 = 5;

/// Connects within `timeout`. The text of the error is for the log of the client.
pub(super) async fn dial(
    proto: Proto,
    destination: ClusterAddr,
    timeout: Duration,
) -> Result<Dialled, (DialError, String)> {
    let to = SocketAddr::new(unmapped(destination.ip()), destination.port());
    let connect = async {
        match proto {
            Proto::Tcp => tcp(to).await.map(Dialled::Tcp),
            Proto::Udp => udp(to).await.map(Dialled::Udp),
        }
    };
    match tokio::time::timeout(timeout.min(LONGEST), connect).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) => Err((DialError::from_io(&error), error.to_string())),
        Err(_) => Err((DialError::TimedOut, format!("no answer within {timeout:?}"))),
    }
}

async fn tcp(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVES);
    socket2::SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
    socket.connect(to).await
}

async fn udp(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    Ok(socket)
}
