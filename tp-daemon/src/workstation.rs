//! The real thing: a dataplane, the DNS server and the session with a manager, put together.

mod request;
mod status;
mod taken;

use std::io;

use anyhow::anyhow;
use tp_core::config::Config;
use tp_core::tun_addresses::{pick_v4, pick_v6};
use tp_core::udp_flows::Limits;
use tp_proto::daemon::{ConnectRequest, Sink, StatusReply};

use crate::backend::{Backend, Session, ThreadWork};
use crate::dataplane::{self, AnyDataplane, AnyPrepared, Choice, MapDump};
use crate::dns;
use crate::failure::{Failure, OrHint};
use crate::logging;
use crate::progress::Progress;
use crate::session;

pub(crate) use request::{command_line, options};

/// Set up as root.
#[derive(Debug)]
pub struct Workstation {
    dataplane: AnyPrepared,
    dns: dns::Prepared,
}

/// Connected.
#[derive(Debug)]
pub struct Connection {
    session: session::Session,
    dataplane: AnyDataplane,
    kind: Kind,
    asked: request::Flags,
}

/// Which dataplane serves, and what `tp status` tells of it from the start.
#[derive(Clone, Debug)]
struct Kind {
    name: &'static str,
    /// What asks for it.
    word: &'static str,
    /// Why it is not the kernel's.
    reason: Option<String>,
    device_addresses: Vec<String>,
}

impl Backend for Workstation {
    type Session = Connection;

    fn prepare(choice: Choice) -> Result<Self, Failure> {
        let taken = taken::networks()
            .or_hint("looking at the routes of this machine", "is netlink available here?")?;
        let v4 = pick_v4(&taken).ok_or_else(|| {
            let error = anyhow!("every network that tp might use is in use: 198.18.84.112/30 for one");
            Failure::new(
                error.context("choosing addresses for the TUN device"),
                "see `ip route show table all`",
            )
        })?;
        let options = dataplane::Options {
            tun_v4: v4.device,
            dns_v4: v4.dns,
            v6: pick_v6(&taken).map(|v6| (v6.device, v6.dns)),
            udp: Limits::default(),
            kernel_log_level: 0,
        };
        let dataplane = dataplane::prepare(choice, &options)?;
        Ok(Self { dataplane, dns: dns::prepare() })
    }

    fn in_other_threads(&self, work: ThreadWork) -> io::Result<()> {
        self.dataplane.in_other_threads(work)
    }

    fn interfaces(&self) -> &'static [&'static str] {
        self.dataplane.interfaces()
    }

    async fn connect(mut self, request: ConnectRequest, progress: Progress) -> Result<Connection, Failure> {
        // before anything that takes its time
        self.dns.authenticate().await;
        request::same_dataplane(&request, self.dataplane.word())?;
        let asked = request::Flags::of(&request);
        let options = options(request).await?;
        logging::follow(&options.sources.config());
        let kind = Kind {
            name: self.dataplane.name(),
            word: self.dataplane.word(),
            reason: self.dataplane.reason().map(str::to_owned),
            device_addresses: self.dataplane.sources().iter().map(ToString::to_string).collect(),
        };
        let dataplane =
            self.dataplane.start().or_hint("starting the dataplane", "this is a bug; please report it")?;
        let session = session::connect(&options, dataplane.clone(), self.dns, &progress).await?;
        Ok(Connection { session, dataplane, kind, asked })
    }
}

impl Session for Connection {
    fn status(&self) -> StatusReply {
        status::reply(self.session.status(), &self.dataplane, &self.kind)
    }

    async fn serves(&self, request: &ConnectRequest) -> Result<bool, Failure> {
        request::same_dataplane(request, self.kind.word)?;
        let flags = request::Flags::of(request);
        if !flags.is_empty() && flags != self.asked {
            return Ok(false);
        }
        request::means(request, &self.session.status()).await
    }

    fn config(&self) -> Config {
        self.session.config()
    }

    async fn open_sink(&self) -> Result<Sink, Failure> {
        self.session.open_sink().await
    }

    fn dump(&self, map: Option<&str>) -> io::Result<Vec<MapDump>> {
        self.session.dump(&self.dataplane, map)
    }

    async fn quit(self) {
        self.session.quit(&self.dataplane).await;
    }
}
