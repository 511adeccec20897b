//! Connections whose reader does not read, until it is told to.
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{first, scripted};
use crate::{pattern, pause, server};

const PATIENCE: Duration = Duration::from_secs(120);
/// Nothing has moved for so long: it will not move any more.
const STILL: Duration = Duration::from_millis(1500);

/// `n` apps ask for `bytes` each and read nothing; when told to go on they read all and verify it. With `drip` what
/// comes first is followed by that many single bytes.
pub(crate) fn apps(host: &str, n: u64, bytes: u64, drip: u64) -> io::Result<Value> {
    let mut streams = Vec::new();
    for seed in 0..n {
        let address = first(&scripted(host))?;
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        // the kernel's own buffers are to be full soon
        socket.set_recv_buffer_size(16 * 1024)?;
        socket.connect(&address.into())?;
        let mut stream = TcpStream::from(socket);
        writeln!(stream, "download-drip {bytes} {drip} {seed}")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        streams.push(stream);
    }
    pause(&json!({"stalled": streams.len()}))?;
    let readers: Vec<_> = streams
        .into_iter()
        .zip(0..)
        .map(|(mut stream, seed)| thread::spawn(move || pattern::read(&mut stream, u64::MAX, seed)))
        .collect();
    let (mut good, mut total) = (0, 0);
    for reader in readers {
        let (got, right) = reader.join().map_err(|_| io::Error::other("a thread panicked"))??;
        good += u64::from(right && got == bytes + drip);
        total += got;
    }
    Ok(json!({"good": good, "bytes": total}))
}

/// `n` apps send `bytes` each to a server that does not read before it is told; says how much the apps could send until
/// then, opens the server's gate when told to go on, and lets it verify what came.
pub(crate) fn servers(host: &str, n: u64, bytes: u64) -> io::Result<Value> {
    let key = format!("gate-{}", std::process::id());
    let sent = Arc::new(AtomicU64::new(0));
    let writers = senders(host, n, bytes, &format!("upload-gated {key}"), &sent)?;
    pause(&json!({"sent": still(&sent)}))?;
    let mut gate = TcpStream::connect(first(&scripted(host))?)?;
    writeln!(gate, "open-gate {key}")?;
    verdict(writers, bytes)
}

/// `n` apps send `bytes` each, which the server reads and verifies. Says when all have begun; when told to go on, how
/// much they could send until nothing moved; and in the end how many arrived.
pub(crate) fn uploads(host: &str, n: u64, bytes: u64) -> io::Result<Value> {
    let sent = Arc::new(AtomicU64::new(0));
    let writers = senders(host, n, bytes, "upload", &sent)?;
    pause(&json!({"begun": n}))?;
    pause(&json!({"sent": still(&sent)}))?;
    verdict(writers, bytes)
}

type Writers = Vec<thread::JoinHandle<io::Result<String>>>;

fn senders(host: &str, n: u64, bytes: u64, script: &str, sent: &Arc<AtomicU64>) -> io::Result<Writers> {
    server::raise_file_limit();
    let mut writers = Vec::new();
    for seed in 0..n {
        let mut stream = TcpStream::connect(first(&scripted(host))?)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        writeln!(stream, "{script} {bytes} {seed}")?;
        let sent = Arc::clone(sent);
        writers.push(thread::spawn(move || {
            pattern::write(&mut Counted { stream: &stream, sent: &sent }, bytes, seed)?;
            let mut answer = String::new();
            BufReader::new(&stream).read_line(&mut answer)?;
            Ok(answer.trim_end().to_owned())
        }));
    }
    Ok(writers)
}

fn verdict(writers: Writers, bytes: u64) -> io::Result<Value> {
    let (mut good, mut wrong) = (0, Vec::new());
    for writer in writers {
        match writer.join().map_err(|_| io::Error::other("a thread panicked"))? {
            Ok(answer) if answer == format!("{bytes} true") => good += 1,
            Ok(answer) => wrong.push(answer),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    Ok(json!({"good": good, "wrong": wrong}))
}

/// What has been sent when nothing moves any more.
fn still(sent: &AtomicU64) -> u64 {
    loop {
        let before = sent.load(Ordering::Relaxed);
        sleep(STILL);
        if sent.load(Ordering::Relaxed) == before {
            return before;
        }
    }
}

struct Counted<'a> {
    stream: &'a TcpStream,
    sent: &'a AtomicU64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.stream.write(bytes)?;
        self.sent.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
