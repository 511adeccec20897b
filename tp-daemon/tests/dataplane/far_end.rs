//! What stands for the cluster: the destination port says what happens there.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tp_core::dial::DialError;
use tp_daemon::dataplane::{AppSocket, AppStream, Arrival, Dataplane, HeldConnect, HeldDatagram};

pub(crate) const ECHO: u16 = 7;
pub(crate) const CLOSED: u16 = 81;
pub(crate) const HOST_ABSENT: u16 = 82;
pub(crate) const NO_ROUTE: u16 = 83;
/// Neither admitted nor refused.
pub(crate) const UNDECIDED: u16 = 84;
/// Admitted after the app's kernel has sent its SYN again.
pub(crate) const SLOW: u16 = 85;
pub(crate) const FORBIDDEN: u16 = 86;
/// See [`count`].
pub(crate) const COUNT: u16 = 90;
/// Sends [`GREETING`] bytes and its end of stream, then reads to the end.
pub(crate) const GREET: u16 = 91;
/// Resets at the first byte.
pub(crate) const RESET: u16 = 92;
/// The session drops the arrival without a verdict.
pub(crate) const DROPPED: u16 = 93;

/// See [`pour`].
pub(crate) const POUR: u16 = 95;

/// Sends [`MEGABYTES`] bytes, each another than the one before, and its end of stream.
pub(crate) const ENDING: u16 = 96;

/// A flow whose datagrams are refused once it is admitted.
pub(crate) const REFUSE_LATER: u16 = 94;

pub(crate) const GREETING: usize = 100_000;

pub(crate) const MEGABYTES: usize = 2 << 20;

/// What the far end saw.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<Vec<String>>);

impl Events {
    fn add(&self, event: impl Into<String>) {
        self.0.lock().unwrap().push(event.into());
    }

    pub(crate) fn count(&self, event: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|seen| *seen == event).count()
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

pub(crate) async fn serve(dataplane: impl Dataplane, events: Arc<Events>) {
    let mut undecided = Vec::new();
    while let Some(arrival) = dataplane.next().await {
        let (port, cluster) = match &arrival {
            Arrival::Tcp(connect) => (connect.flow().dest.port(), connect.cluster()),
            Arrival::Udp(datagram) => (datagram.flow().dest.port(), datagram.cluster()),
        };
        events.add(format!("asked {cluster}"));
        match verdict(port) {
            Verdict::Admit => drop(tokio::spawn(admit(arrival, port, Arc::clone(&events)))),
            Verdict::Refuse(cause) => match arrival {
                Arrival::Tcp(connect) => connect.refuse(cause),
                Arrival::Udp(datagram) => datagram.refuse(cause),
            },
            Verdict::Undecided => undecided.push(arrival),
            Verdict::Drop => drop(arrival),
        }
    }
    events.add("shut down");
}

enum Verdict {
    Admit,
    Refuse(DialError),
    Undecided,
    Drop,
}

fn verdict(port: u16) -> Verdict {
    match port {
        CLOSED => Verdict::Refuse(DialError::Refused),
        HOST_ABSENT => Verdict::Refuse(DialError::HostUnreachable),
        NO_ROUTE => Verdict::Refuse(DialError::NetUnreachable),
        FORBIDDEN => Verdict::Refuse(DialError::Denied),
        UNDECIDED => Verdict::Undecided,
        DROPPED => Verdict::Drop,
        _ => Verdict::Admit,
    }
}

async fn admit(arrival: Arrival, port: u16, events: Arc<Events>) {
    if port == SLOW {
        tokio::time::sleep(Duration::from_millis(1300)).await;
    }
    let result = match arrival {
        Arrival::Tcp(connect) => tcp(connect, port, &events).await,
        Arrival::Udp(datagram) => udp(datagram, port, &events).await,
    };
    events.add(match result {
        Ok(()) => "ended".to_owned(),
        Err(error) => format!("failed: {:?}", error.kind()),
    });
}

async fn tcp(connect: HeldConnect, port: u16, events: &Events) -> io::Result<()> {
    let mut stream: AppStream = connect.admit().await?;
    match port {
        COUNT => count(stream).await?,
        POUR => pour(stream).await?,
        GREET => {
            stream.write_all(&vec![b'g'; GREETING]).await?;
            stream.shutdown().await?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await?;
            events.add(format!("read {}", rest.len()));
        }
        ENDING => {
            stream.write_all(&counted(MEGABYTES)).await?;
            stream.shutdown().await?;
        }
        RESET => {
            stream.read_exact(&mut [0]).await?;
            stream.reset();
        }
        _ => echo(stream).await?,
    }
    Ok(())
}

/// Sends without an end.
pub(crate) async fn pour(mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
    let block = vec![0; 1 << 16];
    loop {
        stream.write_all(&block).await?;
    }
}

/// What a stream of so many bytes has in it when none is missing, doubled or elsewhere.
pub(crate) fn counted(len: usize) -> Vec<u8> {
    (0..251u8).cycle().take(len).collect()
}

/// Sends back what comes, until it ends.
pub(crate) async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buf = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n]).await?,
        }
    }
}

/// Reads to the end, then answers with the number of bytes.
pub(crate) async fn count(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let (mut buf, mut total) = (vec![0; 1 << 18], 0);
    loop {
        match stream.read(&mut buf).await? {
            0 => break,
            n => total += n,
        }
    }
    stream.write_all(total.to_string().as_bytes()).await?;
    stream.shutdown().await
}

async fn udp(datagram: HeldDatagram, port: u16, events: &Events) -> io::Result<()> {
    let socket: AppSocket = datagram.admit().await?;
    let mut buf = vec![0; 1 << 16];
    while let Some(n) = socket.recv(&mut buf).await? {
        if port == REFUSE_LATER {
            socket.undeliverable(DialError::Refused);
            continue;
        }
        socket.send(&buf[..n]).await?;
    }
    events.add("idle");
    Ok(())
}
