//! Thousands of connections in one thread: held open all at once, or opened and closed one after another by many.
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::{client, errno, pause, server};

/// The server's port for them: one task each, not one thread.
pub(crate) const PORT: u16 = 7776;

const PATIENCE: Duration = Duration::from_secs(60);

type Errors = BTreeMap<String, u64>;

/// Echoes on every connection of `listener` for ever.
pub(crate) fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..n]).await.is_err() {
                        return;
                    }
                }
            });
        }
    })
}

/// Opens `n` connections, `at_once` at a time, a byte there and back on each; says so and keeps them all until told to go
/// on. Then once more a byte on each of them.
pub(crate) fn hold(n: u64, at_once: u64, to: &str) -> io::Result<Value> {
    server::raise_file_limit();
    let to = client::first(to)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut streams, mut errors) = (Vec::new(), Errors::new());
        let (mut opening, mut left) = (JoinSet::new(), n);
        loop {
            while left > 0 && (opening.len() as u64) < at_once {
                left -= 1;
                opening.spawn(open(to));
            }
            match opening.join_next().await {
                None => break,
                Some(outcome) => match outcome.map_err(io::Error::other)? {
                    Ok(stream) => streams.push(stream),
                    Err(error) => *errors.entry(errno::name(&error)).or_default() += 1,
                },
            }
        }
        let open = streams.len();
        pause(&json!({"open": open, "errors": errors}))?;
        // written on all before any is read
        for stream in &mut streams {
            stream.write_all(b"?").await?;
        }
        let mut again = 0;
        for mut stream in streams {
            let mut byte = [0];
            match limited(stream.read_exact(&mut byte)).await {
                Ok(_) if byte == *b"?" => again += 1,
                Ok(_) => *errors.entry("wrong".into()).or_default() += 1,
                Err(error) => *errors.entry(errno::name(&error)).or_default() += 1,
            }
        }
        Ok(json!({"open": open, "again": again, "errors": errors}))
    })
}

/// `at_once` workers that connect, exchange a byte and close, until `n` connections were made (or for `Ns` seconds), in
/// turn to each of `to`.
pub(crate) fn churn(n: &str, at_once: u64, to: &[&str]) -> io::Result<Value> {
    server::raise_file_limit();
    let to: Vec<SocketAddr> = to.iter().map(|to| client::first(to)).collect::<io::Result<_>>()?;
    let started = Instant::now();
    let over = |made: u64| match n.strip_suffix('s') {
        Some(seconds) => started.elapsed() >= Duration::from_secs(crate::num(seconds)),
        None => made >= crate::num(n),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut good, mut made, mut errors, mut times) = (0_u64, 0_u64, Errors::new(), Vec::new());
        let mut opening = JoinSet::new();
        for to in to.iter().cycle() {
            if over(made) {
                break;
            }
            made += 1;
            let to = *to;
            opening.spawn(async move {
                let started = Instant::now();
                open(to).await.map(|_| started.elapsed())
            });
            if (opening.len() as u64) < at_once {
                continue;
            }
            if let Some(outcome) = opening.join_next().await {
                count(outcome.map_err(io::Error::other)?, &mut good, &mut errors, &mut times);
            }
        }
        while let Some(outcome) = opening.join_next().await {
            count(outcome.map_err(io::Error::other)?, &mut good, &mut errors, &mut times);
        }
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).map_or(0, Duration::as_micros);
        let per_second = u128::from(good) * 1000 / started.elapsed().as_millis().max(1);
        Ok(json!({
            "made": made, "good": good, "errors": errors, "per_second": per_second,
            "p50_us": at(50), "p99_us": at(99), "max_us": times.last().map_or(0, Duration::as_micros),
        }))
    })
}

fn count(outcome: io::Result<Duration>, good: &mut u64, errors: &mut Errors, times: &mut Vec<Duration>) {
    match outcome {
        Ok(time) => {
            *good += 1;
            times.push(time);
        }
        Err(error) => *errors.entry(errno::name(&error)).or_default() += 1,
    }
}

async fn open(to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = limited(TcpStream::connect(to)).await?;
    stream.write_all(b"!").await?;
    let mut byte = [0];
    limited(stream.read_exact(&mut byte)).await?;
    if byte == *b"!" { Ok(stream) } else { Err(io::Error::other("another byte came back")) }
}

async fn limited<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(PATIENCE, what).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::WouldBlock.into()),
    }
}
