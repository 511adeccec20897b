//! One connection and what becomes of it.
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::errno;

const PATIENCE: Duration = Duration::from_secs(30);

/// How connect() ends, as the app sees it.
pub(crate) fn connect(to: &str, seconds: Option<u64>) -> io::Result<Value> {
    let address = first(to)?;
    let started = Instant::now();
    let limit = Duration::from_secs(seconds.unwrap_or(20));
    let outcome = match TcpStream::connect_timeout(&address, limit) {
        Ok(_) => "open".to_owned(),
        // the standard library's own limit, not the kernel's ETIMEDOUT
        Err(error) if error.raw_os_error().is_none() => "TIMEOUT".to_owned(),
        Err(error) => errno::name(&error),
    };
    Ok(json!({"outcome": outcome, "ms": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)}))
}

/// One line there and back.
pub(crate) fn echo(to: &str, text: &str) -> io::Result<Value> {
    let stream = open(to)?;
    writeln!(&stream, "{text}")?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    Ok(
        json!({"answer": answer.trim_end(), "app": stream.local_addr()?.to_string(), "peer": stream.peer_addr()?.to_string()}),
    )
}

/// What this program's libc says of a name.
pub(crate) fn resolve(name: &str) -> io::Result<Value> {
    let mut addresses: Vec<String> = (name, 0).to_socket_addrs()?.map(|a| a.ip().to_string()).collect();
    addresses.sort();
    addresses.dedup();
    Ok(json!({"addresses": addresses}))
}

/// A connection with a time limit on every read and write, so that a test ends.
pub(crate) fn open(to: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&first(to)?, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

pub(crate) fn first(to: &str) -> io::Result<SocketAddr> {
    to.to_socket_addrs()?.next().ok_or_else(|| io::Error::other(format!("{to} has no address")))
}

/// `HOST` with the port of the scripted server; IPv6 addresses in brackets.
pub(crate) fn scripted(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{}", crate::script::PORT)
    } else {
        format!("{host}:{}", crate::script::PORT)
    }
}

/// Asks the scripted server what it saw of the connection that was given `key`.
pub(crate) fn report(host: &str, key: &str) -> io::Result<String> {
    let stream = open(&scripted(host))?;
    writeln!(&stream, "report {key}")?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}
