//! A connection closed in every order: what each of the two ends sees, to be compared with a run on the node itself.
use std::io::{self, BufRead, BufReader, Write};
use std::thread::{self, sleep};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::client::{open, report, scripted};
use crate::errno;
use crate::script::{end, gone, watch};

const WAYS: [&str; 5] = ["wait", "half", "both", "close", "reset"];

/// `{"app half, server reset": {"app": "data=0 ECONNRESET", "server": "..."}, ...}`; all orders side by side.
pub(crate) fn run(host: &str) -> io::Result<Value> {
    let pairs = WAYS.iter().flat_map(|server| WAYS.iter().map(move |app| (*app, *server)));
    // with nobody ending it there is nothing to see but the time limit
    let threads: Vec<_> = pairs
        .filter(|pair| *pair != ("wait", "wait"))
        .map(|(app, server)| {
            let host = host.to_owned();
            (format!("app {app}, server {server}"), thread::spawn(move || one(&host, app, server)))
        })
        .collect();
    let mut seen = Map::new();
    for (order, thread) in threads {
        seen.insert(order, thread.join().map_err(|_| io::Error::other("a thread panicked"))??);
    }
    Ok(Value::Object(seen))
}

fn one(host: &str, app: &str, server: &str) -> io::Result<Value> {
    let key = format!("end-{}-{app}-{server}", std::process::id());
    let stream = open(&scripted(host))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    writeln!(&stream, "end {server} {key}")?;
    let mut go = String::new();
    reader.read_line(&mut go)?;
    // the server ends first, so that the order is the same each time
    sleep(Duration::from_millis(800));
    let saw = match end(&stream, app) {
        Err(error) => errno::name(&error),
        Ok(()) if gone(app) => "(gone)".into(),
        Ok(()) => watch(&stream, &mut reader),
    };
    drop((stream, reader));
    Ok(json!({"app": saw, "server": report(host, &key)?}))
}
