//! How long small things take: one byte there and back, and a new connection.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tp_core::sink::{LAST_TURN, Mode};

use super::peer::{PATIENCE, connect, expect, open, say, turn};
use super::sample::Sample;

/// After a connection that failed, so that failures do not come by the million.
const BREATH: Duration = Duration::from_millis(10);
/// Where we close first, each leaves its port taken for a minute, and there are 28 000 (see `ports`).
pub(super) const MOST: usize = 10_000;

/// One byte at a time, on one connection.
pub(super) fn round_trip(sink: SocketAddr, lasts: Duration) -> Result<Sample> {
    let mut stream = open(sink, Mode::Echo)?;
    // the first finds caches and routes
    turn(&mut stream, 1)?;
    let (start, mut sample) = (Instant::now(), Sample::default());
    while start.elapsed() < lasts || sample.count() == 0 {
        let began = Instant::now();
        turn(&mut stream, 1)?;
        sample.push(began.elapsed());
    }
    Ok(sample)
}

/// Connections that were made.
#[derive(Debug)]
pub(super) struct Made {
    pub sample: Sample,
    pub took: Duration,
    pub failed: usize,
    /// Of the first that failed.
    pub error: Option<String>,
}

/// Connections one after the other, in `at_once` threads. To a sink: until a byte has come back, which proves that the
/// way is open to its end; then both close. To another server: until the connect is done, whatever that proves.
pub(super) fn connections(to: SocketAddr, is_sink: bool, at_once: usize, lasts: Duration) -> Result<Made> {
    let start = Instant::now();
    let most = MOST / at_once;
    let one = move || if is_sink { to_sink(to) } else { to_server(to) };
    let results: Vec<Made> = thread::scope(|scope| {
        let worker = || {
            let mut made = Made { sample: Sample::default(), took: Duration::ZERO, failed: 0, error: None };
            // each makes one: a machine that is busy may start a thread when the time is over
            loop {
                match one() {
                    Ok(took) => made.sample.push(took),
                    Err(error) => {
                        made.failed += 1;
                        made.error.get_or_insert_with(|| error.to_string());
                        thread::sleep(BREATH);
                    }
                }
                if start.elapsed() >= lasts || made.sample.count() >= most {
                    break;
                }
            }
            made.took = start.elapsed();
            made
        };
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let took = results.iter().map(|made| made.took).max().unwrap_or_default();
    let failed = results.iter().map(|made| made.failed).sum();
    let error = results.iter().find_map(|made| made.error.clone());
    let sample = Sample::of(results.into_iter().map(|made| made.sample));
    match error {
        Some(error) if sample.count() == 0 => Err(anyhow!(error)),
        error => Ok(Made { sample, took, failed, error }),
    }
}

fn to_sink(sink: SocketAddr) -> io::Result<Duration> {
    let began = Instant::now();
    let mut stream = connect(sink)?;
    say(&mut stream, &[Mode::Turns.byte(), LAST_TURN])?;
    expect(&mut stream, LAST_TURN)?;
    let took = began.elapsed();
    // Its close comes with the byte or right after; ours does not wait for it: kubectl's port-forward tells of it a second
    // later, and no app would wait so long.
    Ok(took)
}

fn to_server(server: SocketAddr) -> io::Result<Duration> {
    let began = Instant::now();
    std::net::TcpStream::connect_timeout(&server, PATIENCE)?;
    Ok(began.elapsed())
}
