//! Many connections: all open at once, or one after another.
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{client, errno, pattern, server};

/// All `n` connections are open before the first byte is sent on any.
pub(crate) fn at_once(to: &str, n: u64, bytes: u64) -> io::Result<Value> {
    server::raise_file_limit();
    let barrier = Arc::new(Barrier::new(usize::try_from(n).unwrap_or(1)));
    let errors = Arc::new(Mutex::new(BTreeMap::<String, u64>::new()));
    let threads: Vec<_> = (0..n)
        .map(|seed| {
            let (barrier, errors, to) = (barrier.clone(), errors.clone(), to.to_owned());
            thread::Builder::new().stack_size(128 * 1024).spawn(move || {
                let stream = client::open(&to);
                barrier.wait();
                let outcome = stream.and_then(|stream| verify(stream, bytes, seed));
                if let Err(error) = &outcome {
                    let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
                    *errors.entry(errno::name(error)).or_default() += 1;
                }
                u64::from(outcome.is_ok())
            })
        })
        .collect::<io::Result<_>>()?;
    let good: u64 = threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum();
    let errors = errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(json!({"good": good, "errors": errors}))
}

pub(crate) fn serial(to: &str, n: u64) -> io::Result<Value> {
    let mut good = 0;
    let mut errors = BTreeMap::<String, u64>::new();
    for seed in 0..n {
        match client::open(to).and_then(|stream| verify(stream, 100, seed)) {
            Ok(()) => good += 1,
            Err(error) => *errors.entry(errno::name(&error)).or_default() += 1,
        }
    }
    Ok(json!({"good": good, "errors": errors}))
}

fn verify(mut stream: std::net::TcpStream, bytes: u64, seed: u64) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    pattern::write(&mut stream, bytes, seed)?;
    let (got, right) = pattern::read(&mut stream, bytes, seed)?;
    if got == bytes && right { Ok(()) } else { Err(io::Error::other(format!("{got} bytes, right: {right}"))) }
}
