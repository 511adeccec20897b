//! Many connections that are open at the same time and say nothing.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use rustix::process::{Resource, getrlimit, setrlimit};
use tp_core::sink::{LAST_TURN, Mode};

use super::peer::{connect, expect, say};
use crate::report::with_hint;

/// Threads that open them, each one after the other.
const THREADS: usize = 32;
/// Failures in a row after which a thread gives up.
const HOPELESS: usize = 3;
/// Files of ours that are no connections.
const OTHER_FILES: u64 = 64;

#[derive(Debug)]
pub(super) struct Held {
    pub opened: usize,
    /// Those that were not opened, and those that did not answer in the end.
    pub failed: usize,
    pub open_seconds: f64,
    /// Of the first that failed.
    pub error: Option<String>,
}

/// Opens them, holds them, exchanges a byte on each before and after, and closes. `open` is told when all are open.
pub(super) fn hold(
    sink: SocketAddr,
    connections: usize,
    lasts: Duration,
    open: impl FnOnce(usize),
) -> Result<Held> {
    allow(connections)?;
    let start = Instant::now();
    let shares = (0..THREADS).map(|index| (connections + index) / THREADS);
    let opened: Vec<Share> = thread::scope(|scope| {
        let threads: Vec<_> = shares.map(|share| scope.spawn(move || Share::open(sink, share))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let open_seconds = start.elapsed().as_secs_f64();
    let count: usize = opened.iter().map(|share| share.open.len()).sum();
    let not_opened = opened.iter().find_map(|share| share.error.clone());
    if count == 0 {
        return Err(anyhow!(not_opened.unwrap_or_default()));
    }
    open(count);
    thread::sleep(lasts);
    let closed: Vec<(usize, Option<String>)> = thread::scope(|scope| {
        let threads: Vec<_> = opened.into_iter().map(|share| scope.spawn(move || share.close())).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let answered: usize = closed.iter().map(|(answered, _)| answered).sum();
    let broken = closed.into_iter().find_map(|(_, error)| error);
    Ok(Held { opened: count, failed: connections - answered, open_seconds, error: not_opened.or(broken) })
}

/// One thread's connections.
#[derive(Default)]
struct Share {
    open: Vec<TcpStream>,
    error: Option<String>,
}

impl Share {
    fn open(sink: SocketAddr, share: usize) -> Self {
        let (mut this, mut failed_in_a_row) = (Self::default(), 0);
        for _ in 0..share {
            match open_one(sink) {
                Ok(stream) => {
                    this.open.push(stream);
                    failed_in_a_row = 0;
                }
                Err(error) => {
                    this.error.get_or_insert_with(|| error.to_string());
                    failed_in_a_row += 1;
                    if failed_in_a_row == HOPELESS {
                        break;
                    }
                }
            }
        }
        this
    }

    /// How many still answered. All are asked before the first is listened to.
    fn close(mut self) -> (usize, Option<String>) {
        let asked: Vec<io::Result<()>> =
            self.open.iter_mut().map(|stream| say(stream, &[LAST_TURN])).collect();
        let (mut answered, mut first) = (0, None);
        for (mut stream, asked) in self.open.into_iter().zip(asked) {
            match asked.and_then(|()| expect(&mut stream, LAST_TURN)) {
                Ok(()) => answered += 1,
                Err(error) => {
                    first.get_or_insert_with(|| error.to_string());
                }
            }
        }
        (answered, first)
    }
}

fn open_one(sink: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = connect(sink)?;
    say(&mut stream, &[Mode::Turns.byte(), 1])?;
    expect(&mut stream, 1)?;
    Ok(stream)
}

/// Each connection is a file.
fn allow(connections: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let needed = connections as u64 + OTHER_FILES;
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        let text = format!(
            "{connections} connections need {needed} open files, and this process may have {}",
            limit.maximum.unwrap_or_default()
        );
        return Err(with_hint(anyhow!(text), format!("raise the limit: ulimit -Hn {needed}, as root")));
    }
    let mut raised = limit;
    raised.current = limit.maximum;
    setrlimit(Resource::Nofile, raised)
        .map_err(|error| anyhow!(error).context("raising the limit of open files"))
}
