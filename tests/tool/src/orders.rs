//! A connection closed in every order: what each of the two ends sees, to be compared with a run on the node itself.
use std::io::{self, BufRead, BufReader, Write};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::client::{open, report, scripted};
use crate::errno;
use crate::script::{end, gone, watch};

const WAYS: [&str; 5] = ["wait", "half", "both", "close", "reset"];

/// `{"app half, server reset": {"app": "data=0 ECONNRESET", "server": "..."}, ...}`
pub(crate) fn run(host: &str) -> io::Result<Value> {
    let mut seen = Map::new();
    for server in WAYS {
        for app in WAYS {
            // with nobody ending it there is nothing to see but the time limit
            if (server, app) != ("wait", "wait") {
                seen.insert(format!("app {app}, server {server}"), one(host, app, server)?);
            }
        }
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
    sleep(Duration::from_millis(400));
    let saw = match end(&stream, app) {
        Err(error) => errno::name(&error),
        Ok(()) if gone(app) => "(gone)".into(),
        Ok(()) => watch(&stream, &mut reader),
    };
    drop((stream, reader));
    Ok(json!({"app": saw, "server": report(host, &key)?}))
}
