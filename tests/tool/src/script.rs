//! The scripted port: the client's first line says how this end of the connection shall behave.
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use crate::{errno, pattern};

pub(crate) const PORT: u16 = 7000;
const PATIENCE: Duration = Duration::from_secs(10);
const GATE: Duration = Duration::from_secs(120);

/// What this end saw of connections that could no longer tell their client; `report KEY` asks for it.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    seen: Mutex<HashMap<String, String>>,
    news: Condvar,
}

impl Reports {
    fn put(&self, key: &str, value: String) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(key.into(), value);
        self.news.notify_all();
    }

    fn take(&self, key: &str) -> String {
        self.wait(key, PATIENCE).remove(key).unwrap_or_else(|| "nothing".into())
    }

    fn wait(&self, key: &str, patience: Duration) -> MutexGuard<'_, HashMap<String, String>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.news.wait_timeout_while(seen, patience, |seen| !seen.contains_key(key));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Serves one scripted connection.
pub(crate) fn serve(stream: &TcpStream, reports: &Reports) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream.try_clone()?;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["download", bytes, seed] => pattern::write(&mut writer, crate::num(bytes), crate::num(seed)),
        ["upload", bytes, seed] => {
            let (got, right) = pattern::read(&mut reader, crate::num(bytes), crate::num(seed))?;
            writeln!(writer, "{got} {right}")
        }
        // what comes at once, then single bytes
        ["download-drip", bytes, drip, seed] => {
            let (bytes, drip, seed) = (crate::num(bytes), crate::num(drip), crate::num(seed));
            stream.set_nodelay(true)?;
            pattern::write(&mut writer, bytes, seed)?;
            pattern::drip(&mut writer, bytes, drip, seed)
        }
        // nothing is read before somebody opens the gate
        ["upload-gated", key, bytes, seed] => {
            drop(reports.wait(key, GATE));
            let (got, right) = pattern::read(&mut reader, crate::num(bytes), crate::num(seed))?;
            writeln!(writer, "{got} {right}")
        }
        // the client closes its direction; the answer must still reach it
        ["upload-eof", seed] => {
            let (got, right) = pattern::read(&mut reader, u64::MAX, crate::num(seed))?;
            sleep(Duration::from_millis(300));
            writeln!(writer, "{got} {right}")
        }
        // this end closes its direction first; what the client then sends must still arrive
        ["server-half", bytes, seed, key] => {
            pattern::write(&mut writer, crate::num(bytes), crate::num(seed))?;
            stream.shutdown(Shutdown::Write)?;
            let (got, right) = pattern::read(&mut reader, u64::MAX, crate::num(seed))?;
            reports.put(key, format!("{got} {right}"));
            Ok(())
        }
        ["end", how, key] => {
            writeln!(writer, "go")?;
            // what follows must not arrive together with the line
            sleep(Duration::from_millis(300));
            let saw = match end(stream, how) {
                Err(error) => errno::name(&error),
                Ok(()) if gone(how) => "(gone)".into(),
                Ok(()) => watch(stream, &mut reader),
            };
            reports.put(key, saw);
            Ok(())
        }
        ["open-gate", key] => {
            reports.put(key, "open".into());
            Ok(())
        }
        ["report", key] => writeln!(writer, "{}", reports.take(key)),
        _ => writeln!(writer, "no such script: {line}"),
    }
}

/// Ends a connection in the way `how` names; both ends use it.
pub(crate) fn end(mut stream: &TcpStream, how: &str) -> io::Result<()> {
    match how {
        "wait" | "close" => Ok(()),
        "half" => {
            stream.write_all(&[b'x'; 1000])?;
            // a peer that is gone has answered by then, also over a longer way
            sleep(Duration::from_millis(200));
            stream.shutdown(Shutdown::Write)
        }
        "both" => stream.shutdown(Shutdown::Both),
        // the caller closes: linger 0 turns that into a RST
        "reset" => socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)),
        other => Err(io::Error::other(format!("no such end: {other}"))),
    }
}

/// After these the caller closes the socket at once.
pub(crate) fn gone(how: &str) -> bool {
    matches!(how, "close" | "reset")
}

/// What this end of the connection sees from here on: `data=N` then `EOF`, `ECONNRESET`, or `TIMEOUT` after a while.
pub(crate) fn watch(stream: &TcpStream, reader: &mut impl Read) -> String {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(3)));
    let mut buffer = [0; 4096];
    let mut data = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return format!("data={data} EOF"),
            Ok(n) => data += n,
            Err(error) => return format!("data={data} {}", errno::name(&error)),
        }
    }
}
