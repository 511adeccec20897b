//! What is measured against: a sink of one's own, any server, or the sink of the manager that this machine is connected
//! to.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use tp_proto::daemon::open_sink_reply::Result as Opened;
use tp_proto::daemon::{Sink, StatusReply};

use super::BenchArgs;
use crate::daemon::{self, rpc_error};
use crate::report::{Advice, with_hint};

#[derive(Clone, Debug)]
pub(super) struct Target {
    pub address: SocketAddr,
    /// As the user gave it, or the manager did.
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
    manager: String,
    /// `port-forward` or `direct`.
    way: &'static str,
    /// Of the API server, or the manager's address.
    server: String,
    /// `ebpf` or `userspace`.
    dataplane: String,
}

impl Connection {
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let way = match self.way {
            "direct" => format!("direct, to {}", self.server),
            way => format!("{way}, by {}", self.server),
        };
        vec![("Manager", self.manager.clone()), ("Way", way), ("Dataplane", self.dataplane.clone())]
    }
}

impl From<StatusReply> for Connection {
    fn from(status: StatusReply) -> Self {
        Self {
            manager: format!("{} {}", status.manager_name, status.manager_version),
            way: if status.context.is_empty() { "direct" } else { "port-forward" },
            server: status.server,
            dataplane: status.dataplane,
        }
    }
}

const DOING: &str = "measuring the connection to the cluster";
const OWN: &str = "does it run? tp-traffic sink --listen ADDR:PORT";
const CONNECT: &str =
    "connect first: sudo tp connect; or measure without a connection: tp bench --address HOST:PORT";

pub(super) async fn find(args: &BenchArgs) -> Result<Target> {
    let (text, is_sink) = match (&args.sink, &args.address) {
        (Some(sink), _) => (sink, true),
        (None, Some(address)) => (address, false),
        (None, None) => return of_manager(args).await,
    };
    Ok(Target {
        address: resolve(text)?,
        shown: text.clone(),
        is_sink,
        name: args.name.clone(),
        connection: None,
        hint: OWN,
    })
}

async fn of_manager(args: &BenchArgs) -> Result<Target> {
    let Some(mut daemon) = daemon::find().await? else {
        return Err(with_hint(anyhow!("there is none").context(DOING), CONNECT));
    };
    let status = daemon.client.status(()).await.map_err(|status| rpc_error(DOING, &status))?.into_inner();
    if status.state != "connected" {
        let error = anyhow!("it is {}", status.state).context(DOING);
        return Err(with_hint(error, "see how it is doing: tp status"));
    }
    let reply = daemon.client.open_sink(()).await.map_err(|status| rpc_error(DOING, &status))?.into_inner();
    let sink = match reply.result {
        Some(Opened::Sink(sink)) => sink,
        Some(Opened::Failed(failed)) => return Err(with_hint(anyhow!(failed.message), failed.hint)),
        None => Sink::default(),
    };
    let port = u16::try_from(sink.port).context(DOING)?;
    let ip: IpAddr = sink.addresses.first().and_then(|text| text.parse().ok()).context(DOING)?;
    let address = SocketAddr::new(ip, port);
    Ok(Target {
        address,
        shown: address.to_string(),
        is_sink: true,
        name: args.name.clone().or(Some(sink.name).filter(|name| !name.is_empty())),
        connection: Some(status.into()),
        hint: "is the connection well? tp status",
    })
}

fn resolve(text: &str) -> Result<SocketAddr> {
    let mut found = text
        .to_socket_addrs()
        .with_context(|| format!("looking up {text}"))
        .hint("HOST:PORT is expected, e.g. 10.96.0.1:443, [fd00::1]:443 or echo.default:80")?;
    found.next().with_context(|| format!("{text} has no address"))
}
