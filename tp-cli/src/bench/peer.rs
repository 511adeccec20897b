//! The other end, as a blocking socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, anyhow};
use tp_core::sink::{LAST_TURN, Mode};

/// Whoever does not get anything through for this long is stuck.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Connects, without any delay of small writes.
pub(super) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(plain)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A connection to the sink for one use.
pub(super) fn open(address: SocketAddr, mode: Mode) -> io::Result<TcpStream> {
    let mut stream = connect(address)?;
    say(&mut stream, &[mode.byte()])?;
    Ok(stream)
}

pub(super) fn say(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).map_err(plain)
}

pub(super) fn hear(stream: &mut TcpStream, bytes: &mut [u8]) -> io::Result<()> {
    stream.read_exact(bytes).map_err(plain)
}

/// One turn: a byte there and the same back.
pub(super) fn turn(stream: &mut TcpStream, byte: u8) -> io::Result<()> {
    say(stream, &[byte])?;
    expect(stream, byte)
}

pub(super) fn expect(stream: &mut TcpStream, byte: u8) -> io::Result<()> {
    let mut heard = [0];
    hear(stream, &mut heard)?;
    if heard[0] == byte {
        Ok(())
    } else {
        Err(io::Error::new(ErrorKind::InvalidData, "another byte came back"))
    }
}

/// Whether it is a sink that is there.
pub(super) fn greet(address: SocketAddr) -> Result<()> {
    let mut stream = connect(address)?;
    let mut turns = || -> io::Result<()> {
        say(&mut stream, &[Mode::Turns.byte(), 1])?;
        expect(&mut stream, 1)?;
        turn(&mut stream, LAST_TURN)
    };
    turns().map_err(|error| anyhow!(error).context("what listens there is no sink of tp"))
}

/// Times out with a text that says so: the kernel says "resource temporarily unavailable".
fn plain(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            io::Error::new(ErrorKind::TimedOut, format!("nothing came through for {PATIENCE:?}"))
        }
        ErrorKind::UnexpectedEof => {
            io::Error::new(ErrorKind::UnexpectedEof, "the other end closed the connection")
        }
        _ => error,
    }
}
