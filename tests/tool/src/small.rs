//! How long small things take, while whatever else goes on: the figure is printed, nobody judges it.
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client;

/// `n` connects with one byte there and back, and `n` bytes there and back on one of them.
pub(crate) fn requests(to: &str, n: u64) -> io::Result<Value> {
    let (mut connects, mut trips) = (Vec::new(), Vec::new());
    let mut stream = client::open(to)?;
    stream.set_nodelay(true)?;
    for _ in 0..n {
        trips.push(timed(|| exchange(&mut stream))?);
        connects.push(timed(|| exchange(&mut client::open(to)?))?);
    }
    Ok(json!({"good": n, "connect_us": median(connects), "round_trip_us": median(trips)}))
}

/// `n` lookups by this program's libc, each of another name below `name`.
pub(crate) fn lookups(name: &str, n: u64) -> io::Result<Value> {
    let mut times = Vec::new();
    for number in 0..n {
        let name = format!("n{number}-{}.{name}", std::process::id());
        times.push(timed(|| match (name.as_str(), 0).to_socket_addrs()?.next() {
            Some(_) => Ok(()),
            None => Err(io::Error::other("no address")),
        })?);
    }
    Ok(json!({"good": n, "lookup_us": median(times)}))
}

fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"!")?;
    let mut byte = [0];
    stream.read_exact(&mut byte)
}

fn timed(what: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    let started = Instant::now();
    what()?;
    Ok(started.elapsed())
}

fn median(mut times: Vec<Duration>) -> u128 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0, Duration::as_micros)
}
