//! What is measured against: a sink of one's own, any server, or the sink of the manager that this machine is connected
//! to.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use super::BenchArgs;
use crate::report::{Advice, with_hint};

#[derive(Clone, Debug)]
pub(super) struct Target {
    pub address: SocketAddr,
    /// As the user gave it.
    pub shown: String,
    pub is_sink: bool,
    /// To look up.
    pub name: Option<String>,
    pub connection: Option<Connection>,
    /// If it cannot be reached.
    pub hint: &'static str,
}

/// How this machine is connected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Connection {
    dataplane: String,
    manager: String,
    /// `port-forward` or `direct`.
    way: String,
    server: String,
}

impl Connection {
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Manager", self.manager.clone()),
            ("Way", format!("{}, {}", self.way, self.server)),
            ("Dataplane", self.dataplane.clone()),
        ]
    }
}

const NO_SINK: &str = "does it run? tp-traffic sink --listen ADDR:PORT";

#[expect(clippy::unused_async, reason = "the manager's sink is asked for")]
pub(super) async fn find(args: &BenchArgs) -> Result<Target> {
    let (text, is_sink) = match (&args.sink, &args.address) {
        (Some(sink), _) => (sink, true),
        (None, Some(address)) => (address, false),
        (None, None) => {
            let hint =
                "give a sink of your own: tp-traffic sink --listen ADDR:PORT, then tp bench --sink ADDR:PORT";
            return Err(with_hint(anyhow!("the manager's sink cannot be asked for yet"), hint));
        }
    };
    Ok(Target {
        address: resolve(text)?,
        shown: text.clone(),
        is_sink,
        name: args.name.clone(),
        connection: None,
        hint: NO_SINK,
    })
}

fn resolve(text: &str) -> Result<SocketAddr> {
    let mut found = text
        .to_socket_addrs()
        .with_context(|| format!("looking up {text}"))
        .hint("HOST:PORT is expected, e.g. 10.96.0.1:443, [fd00::1]:443 or echo.default:80")?;
    found.next().with_context(|| format!("{text} has no address"))
}
