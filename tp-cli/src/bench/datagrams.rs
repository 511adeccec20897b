//! UDP: one datagram there and back, and as many as go through.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::errno::Errno;

use super::sample::Sample;

/// A datagram that has not come back by then is lost.
const LOST: Duration = Duration::from_secs(1);
/// A sink that has not answered as many in a row is not there.
const HOPELESS: usize = 3;
/// Datagrams under way at a time: enough to keep the way busy, and less than a socket's buffer holds on either end, so
/// that it is the way that limits and not our own overflow.
const WINDOW: u64 = 128;
const SIZE: usize = 64;

/// One datagram at a time.
pub(super) fn round_trip(sink: SocketAddr, lasts: Duration) -> Result<(Sample, usize)> {
    let socket = socket(sink, LOST)?;
    let (start, mut sample, mut lost) = (Instant::now(), Sample::default(), 0);
    let mut number = 0;
    while start.elapsed() < lasts || number == 0 {
        number += 1;
        let began = Instant::now();
        send(&socket, number)?;
        match wait_for(&socket, number, began)? {
            // the first finds caches, routes and makes the flow
            true if number == 1 => {}
            true => sample.push(began.elapsed()),
            false => lost += 1,
        }
        if sample.count() == 0 && lost >= HOPELESS {
            bail!("no datagram came back");
        }
    }
    Ok((sample, lost))
}

/// What went through.
#[derive(Debug)]
pub(super) struct Passed {
    pub sent: u64,
    pub received: u64,
    pub took: Duration,
}

/// A window of datagrams is always under way; each that comes back, and each older one that did not, makes room.
pub(super) fn packets(sink: SocketAddr, lasts: Duration) -> Result<Passed> {
    let socket = socket(sink, LOST)?;
    let start = Instant::now();
    // numbers: the last sent, the highest that came back or was given up
    let (mut sent, mut settled, mut received) = (0, 0, 0);
    while start.elapsed() < lasts {
        while sent - settled < WINDOW {
            sent += 1;
            send(&socket, sent)?;
        }
        match receive(&socket)? {
            Some(number) if (1..=sent).contains(&number) => {
                received += 1;
                settled = settled.max(number);
            }
            Some(_) => {}
            None => settled = sent,
        }
    }
    let took = start.elapsed();
    // those under way are not lost
    while settled < sent {
        match receive(&socket)? {
            Some(number) => {
                received += 1;
                settled = settled.max(number);
            }
            None => break,
        }
    }
    if received == 0 {
        bail!("no datagram came back");
    }
    Ok(Passed { sent, received, took })
}

fn socket(sink: SocketAddr, patience: Duration) -> io::Result<UdpSocket> {
    let socket = if sink.is_ipv4() {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?
    } else {
        UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?
    };
    socket.connect(sink)?;
    socket.set_read_timeout(Some(patience))?;
    Ok(socket)
}

fn send(socket: &UdpSocket, number: u64) -> io::Result<()> {
    let mut datagram = [0x5a; SIZE];
    datagram[..8].copy_from_slice(&number.to_be_bytes());
    match socket.send(&datagram) {
        // no room in our own queue: as good as lost
        Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => Ok(()),
        sent => sent.map(drop),
    }
}

/// The number of the next that comes back; 0 for a stranger; nothing in time is `None`.
fn receive(socket: &UdpSocket) -> io::Result<Option<u64>> {
    let mut datagram = [0; SIZE + 1];
    match socket.recv(&mut datagram) {
        Ok(SIZE) => Ok(Some(datagram[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))),
        Ok(_) => Ok(Some(0)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the datagram came back; late ones before it are passed over.
fn wait_for(socket: &UdpSocket, number: u64, began: Instant) -> io::Result<bool> {
    while began.elapsed() < LOST {
        match receive(socket)? {
            Some(came) if came == number => return Ok(true),
            Some(_) => {}
            None => break,
        }
    }
    Ok(false)
}
