//! One tunnel stream, answered as Telepresence's agent answers it (facts/telepresence-wire.md §4): dial, then bytes both ways;
//! the end of either side is the end of the connection.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc::Sender;
use tonic::{Status, Streaming};

use super::wire::manager::TunnelMessage;

const NORMAL: u8 = 0;
const STREAM_INFO: u8 = 1;
const STREAM_OK: [u8; 2] = [2, 2];
const CLOSE_SEND: u8 = 3;
const DIAL_OK: u8 = 4;
const DIAL_REJECT: u8 = 5;
const DISCONNECT: u8 = 6;
const TCP: u8 = 6;
const UDP: u8 = 17;

const UDP_IDLE: Duration = Duration::from_secs(60);

type Outgoing = Sender<Result<TunnelMessage, Status>>;

struct Info {
    dial_timeout: Duration,
    to: SocketAddr,
    proto: u8,
}

pub(super) async fn run(mut incoming: Streaming<TunnelMessage>, tx: &Outgoing) -> Result<(), Status> {
    let first = incoming.message().await?.ok_or_else(|| Status::failed_precondition("no first message"))?;
    let info = parse(&first.payload).ok_or_else(|| Status::invalid_argument("no StreamInfo"))?;
    say(tx, &STREAM_OK).await;
    let dialled = match info.proto {
        TCP => tokio::time::timeout(info.dial_timeout, TcpStream::connect(info.to))
            .await
            .map(|s| s.map(Socket::Tcp)),
        UDP => Ok(udp(info.to).await.map(Socket::Udp)),
        _ => Ok(Err(io::Error::other("neither TCP nor UDP"))),
    };
    match dialled {
        Ok(Ok(socket)) => {
            say(tx, &[DIAL_OK]).await;
            match socket {
                Socket::Tcp(stream) => tcp(stream, &mut incoming, tx).await?,
                Socket::Udp(socket) => datagrams(&socket, &mut incoming, tx).await?,
            }
        }
        _ => say(tx, &[DIAL_REJECT]).await,
    }
    say(tx, &[CLOSE_SEND]).await;
    // the call ends when the client has ended its side
    while incoming.message().await?.is_some() {}
    Ok(())
}

enum Socket {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

async fn udp(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(socket)
}

async fn tcp(
    stream: TcpStream,
    incoming: &mut Streaming<TunnelMessage>,
    tx: &Outgoing,
) -> Result<(), Status> {
    let (mut read, mut write) = stream.into_split();
    let out = async {
        let mut buffer = vec![0; 1 << 20];
        loop {
            match read.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(n) => say_data(tx, &buffer[..n]).await,
            }
        }
    };
    let inward = async {
        while let Some(message) = incoming.message().await? {
            match message.payload.split_first() {
                Some((&NORMAL, data)) => {
                    if write.write_all(data).await.is_err() {
                        break;
                    }
                }
                Some((&(CLOSE_SEND | DIAL_REJECT | DISCONNECT), _)) => break,
                Some(_) => {}
                // the real agent would crash (§0.2.2)
                None => return Err(Status::internal("an empty message came")),
            }
        }
        Ok(())
    };
    tokio::select! {
        () = out => Ok(()),
        ended = inward => ended,
    }
}

async fn datagrams(
    socket: &UdpSocket,
    incoming: &mut Streaming<TunnelMessage>,
    tx: &Outgoing,
) -> Result<(), Status> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        tokio::select! {
            received = socket.recv(&mut buffer) => match received {
                Ok(n) => say_data(tx, &buffer[..n]).await,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return Ok(()),
            },
            message = incoming.message() => match message?.as_ref().map(|message| message.payload.split_first()) {
                Some(Some((&NORMAL, data))) => { let _ = socket.send(data).await; }
                Some(Some((&(CLOSE_SEND | DIAL_REJECT | DISCONNECT), _))) | None => return Ok(()),
                Some(Some(_)) => {}
                Some(None) => return Err(Status::internal("an empty message came")),
            },
            () = tokio::time::sleep(UDP_IDLE) => {
                say(tx, &[DISCONNECT]).await;
                return Ok(());
            }
        }
    }
}

async fn say_data(tx: &Outgoing, data: &[u8]) {
    say(tx, &[&[NORMAL], data].concat()).await;
}

async fn say(tx: &Outgoing, payload: &[u8]) {
    // a client that is gone hears nothing
    let _ = tx.send(Ok(TunnelMessage { payload: payload.to_vec() })).await;
}

/// `01 | version | roundtrip ns | dial timeout ns | length, ConnID | length, session` (§4.2).
fn parse(payload: &[u8]) -> Option<Info> {
    let (&STREAM_INFO, mut rest) = payload.split_first()? else { return None };
    let _version = varint(&mut rest)?;
    let _roundtrip = varint(&mut rest)?;
    let dial_timeout = Duration::from_nanos(varint(&mut rest)?);
    let length = usize::try_from(varint(&mut rest)?).ok()?;
    let id = rest.get(..length)?;
    let (to, proto) = match *id {
        [_, _, _, _, _, _, ref to @ .., high, low, proto] if to.len() == 4 => {
            let to: [u8; 4] = to.try_into().ok()?;
            (SocketAddr::new(IpAddr::from(to), u16::from_be_bytes([high, low])), proto)
        }
        [.., high, low, proto] if id.len() == 37 => {
            let to: [u8; 16] = id[18..34].try_into().ok()?;
            (SocketAddr::new(IpAddr::from(to).to_canonical(), u16::from_be_bytes([high, low])), proto)
        }
        _ => return None,
    };
    Some(Info { dial_timeout, to, proto })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// facts/telepresence-wire.md, appendix A, produced by the real Go code.
    #[test]
    fn vector() {
        let hex = "010280a8d6b90780bcc1960b0d0a010203b26e0a60000a1f90062430623963316434652d313131312d323232322d333333332d343434343535353536363636";
        let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
        let payload: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let info = parse(&payload).unwrap();
        assert_eq!((info.to, info.proto), ("10.96.0.10:8080".parse().unwrap(), TCP));
        assert_eq!(info.dial_timeout, Duration::from_secs(3));
        for cut in 0..25 {
            assert!(parse(&payload[..cut]).is_none(), "{cut}");
        }
    }
}
