//! Large transfers each way, and half-close in both directions, every byte verified.
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{open, report, scripted};
use crate::pattern;

pub(crate) fn download(host: &str, bytes: u64, seed: u64, first_wait_ms: u64) -> io::Result<Value> {
    let mut stream = open(&scripted(host))?;
    writeln!(stream, "download {bytes} {seed}")?;
    sleep(Duration::from_millis(first_wait_ms));
    let started = Instant::now();
    // one byte more than there should be: the end must come after the last
    let (got, right) = pattern::read(&mut stream, bytes + 1, seed)?;
    Ok(json!({"bytes": got, "right": right, "mbit_per_s": rate(got, started)}))
}

pub(crate) fn upload(host: &str, bytes: u64, seed: u64) -> io::Result<Value> {
    let mut stream = open(&scripted(host))?;
    let started = Instant::now();
    writeln!(stream, "upload {bytes} {seed}")?;
    pattern::write(&mut stream, bytes, seed)?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    Ok(json!({"answer": answer.trim_end(), "mbit_per_s": rate(bytes, started)}))
}

/// The app closes its direction, then waits for the answer.
pub(crate) fn client_half(host: &str, bytes: u64, seed: u64) -> io::Result<Value> {
    let mut stream = open(&scripted(host))?;
    writeln!(stream, "upload-eof {seed}")?;
    pattern::write(&mut stream, bytes, seed)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    Ok(json!({"answer": answer.trim_end()}))
}

/// The server closes its direction; the app reads to the end and only then sends.
pub(crate) fn server_half(host: &str, bytes: u64, seed: u64) -> io::Result<Value> {
    let key = format!("half-{}", std::process::id());
    let mut stream = open(&scripted(host))?;
    writeln!(stream, "server-half {bytes} {seed} {key}")?;
    let (got, right) = pattern::read(&mut stream, u64::MAX, seed)?;
    sleep(Duration::from_millis(300));
    pattern::write(&mut stream, bytes, seed)?;
    stream.shutdown(Shutdown::Write)?;
    Ok(json!({"bytes": got, "right": right, "server": report(host, &key)?}))
}

fn rate(bytes: u64, started: Instant) -> u128 {
    u128::from(bytes) * 8 / started.elapsed().as_micros().max(1)
}
