//! Throughput: as much as goes through, in one stream or several.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tp_core::sink::{BLOCK, Blocks, Mode};

use super::peer::{hear, open, say};

/// Until what was under way when a download was stopped has come.
const DRAIN: Duration = Duration::from_secs(2);

/// Bytes per second that arrived, counted by the sink. What it had not read yet at the end is waited for, so that no
/// buffer on the way counts as speed.
pub(super) fn upload(sink: SocketAddr, streams: usize, lasts: Duration) -> Result<f64> {
    let block = Blocks::block();
    let (counts, took) = all_at_once(sink, streams, Mode::Blocks, |stream, start| {
        while start.elapsed() < lasts {
            say(stream, &block)?;
        }
        say(stream, &Blocks::END)?;
        let mut count = [0; 8];
        hear(stream, &mut count)?;
        Ok((u64::from_be_bytes(count), start.elapsed()))
    })?;
    per_second(counts, took)
}

/// Bytes per second that came here.
pub(super) fn download(sink: SocketAddr, streams: usize, lasts: Duration) -> Result<f64> {
    let (counts, took) = all_at_once(sink, streams, Mode::Source, |stream, start| {
        let mut block = vec![0; BLOCK];
        let (mut count, mut took) = (0, start.elapsed());
        // a way that is slow to begin is slow, not broken
        while took < lasts || count == 0 {
            match stream.read(&mut block)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => count += length as u64,
            }
            took = start.elapsed();
        }
        stop(stream, &mut block);
        Ok((count, took))
    })?;
    per_second(counts, took)
}

/// Asks the sink to end, and takes what is still under way: the next case must not find the way full. Best effort.
fn stop(stream: &mut TcpStream, block: &mut [u8]) {
    let start = Instant::now();
    if say(stream, &[0]).is_ok() {
        while start.elapsed() < DRAIN && matches!(stream.read(block), Ok(1..)) {}
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// What all streams counted, and how long the longest took. They are open before the clock starts.
fn all_at_once(
    sink: SocketAddr,
    streams: usize,
    mode: Mode,
    transfer: impl Fn(&mut TcpStream, Instant) -> io::Result<(u64, Duration)> + Sync,
) -> Result<(u64, Duration)> {
    let open: io::Result<Vec<TcpStream>> = (0..streams).map(|_| open(sink, mode)).collect();
    let (open, start, transfer) = (open?, Instant::now(), &transfer);
    let results: Vec<io::Result<(u64, Duration)>> = thread::scope(|scope| {
        let threads: Vec<_> =
            open.into_iter().map(|mut stream| scope.spawn(move || transfer(&mut stream, start))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
            .collect()
    });
    let mut all = (0, Duration::ZERO);
    for result in results {
        let (count, took) = result?;
        all = (all.0 + count, all.1.max(took));
    }
    Ok(all)
}

fn per_second(count: u64, took: Duration) -> Result<f64> {
    ensure!(count > 0, "nothing came through");
    Ok(count as f64 / took.as_secs_f64())
}
