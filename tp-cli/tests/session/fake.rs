//! A workstation that makes one interface and connects to nothing. The manager URL says what it does.

use std::future::pending;
use std::io;
use std::process::Command;
use std::sync::mpsc;

use tp_core::config::{Config, Layer, Source};
use tp_daemon::backend::{Backend, Session, ThreadWork};
use tp_daemon::dataplane::Choice;
use tp_daemon::dataplane::dump::{MapDump, OutcomeRow, Rows};
use tp_daemon::failure::Failure;
use tp_daemon::progress::Progress;
use tp_proto::daemon::connect_request::Target;
use tp_proto::daemon::{ConnectRequest, DnsStatus, Sink, StatusReply};

/// A manager that never answers.
pub(crate) const SLOW: &str = "tp://slow";
/// One that refuses.
pub(crate) const BAD: &str = "tp://bad";

/// What has to be run in the thread, and where the result goes.
type Job = (ThreadWork, mpsc::Sender<io::Result<()>>);

/// Has a thread of its own, as the real one has in its private namespace.
pub(crate) struct Fake(mpsc::Sender<Job>);

pub(crate) struct Connection {
    url: String,
    _thread: Fake,
}

impl Backend for Fake {
    type Session = Connection;

    fn prepare(_: Choice) -> Result<Self, Failure> {
        ip(&["link", "del", "tpv"]);
        ip(&["link", "add", "tpv", "type", "veth", "peer", "name", "tpv-peer"]);
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            while let Ok((work, done)) = queue.recv() {
                let _ = done.send(work());
            }
        });
        Ok(Self(jobs))
    }

    fn in_other_threads(&self, work: ThreadWork) -> io::Result<()> {
        let (done, result) = mpsc::channel();
        self.0.send((work, done)).map_err(io::Error::other)?;
        result.recv().map_err(io::Error::other)?
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["tpv"]
    }

    async fn connect(self, request: ConnectRequest, progress: Progress) -> Result<Connection, Failure> {
        let url = url(&request);
        progress.step("manager", format!("connecting to {url}"));
        match url.as_str() {
            SLOW => pending().await,
            BAD => Err(Failure::new(io::Error::other("the token has expired"), "ask for another")),
            _ => Ok(Connection { url, _thread: self }),
        }
    }
}

impl Session for Connection {
    fn status(&self) -> StatusReply {
        StatusReply {
            state: "connected".to_owned(),
            dataplane: "ebpf".to_owned(),
            server: self.url.clone(),
            namespace: "default".to_owned(),
            manager_name: "traffic-manager (tp)".to_owned(),
            manager_version: "v0.1.0".to_owned(),
            session: "session-1".to_owned(),
            device: "tp0".to_owned(),
            device_addresses: vec!["198.18.84.113".to_owned()],
            subnets: vec!["10.96.0.0/16".to_owned(), "10.244.0.0/16".to_owned()],
            dns: Some(DnsStatus {
                mode: "socket hooks".to_owned(),
                addresses: vec!["198.18.84.114".to_owned()],
                cluster_domain: "cluster.local".to_owned(),
                suffixes: vec!["default".to_owned(), "svc".to_owned()],
            }),
            tcp_flows: 2,
            udp_flows: 1,
            connected_seconds: 3725,
            ..StatusReply::default()
        }
    }

    async fn serves(&self, request: &ConnectRequest) -> Result<bool, Failure> {
        Ok(url(request) == self.url)
    }

    fn config(&self) -> Config {
        let (manager, _) = Layer::lenient(Source::Manager, "routing: {alsoProxySubnets: [10.9.0.0/16]}");
        let mut config = Config::merge([&manager]);
        config.notes.push("the manager said something odd".to_owned());
        config
    }

    async fn open_sink(&self) -> Result<Sink, Failure> {
        let error = io::Error::other("traffic-manager (tp) v0.1.0 has no sink");
        Err(Failure::new(error, "measure something else"))
    }

    fn dump(&self, map: Option<&str>) -> io::Result<Vec<MapDump>> {
        if map.is_some_and(|map| map != "outcomes") {
            let text = "there is no map of that name\n\nhint: the maps are outcomes";
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let rows = vec![
            OutcomeRow { outcome: "from_app.syn_held", packets: 12 },
            OutcomeRow { outcome: "from_app.crossed", packets: 123_456 },
        ];
        Ok(vec![MapDump { name: "outcomes", max_entries: 50, rows: Rows::Outcomes(rows) }])
    }

    async fn quit(self) {}
}

fn url(request: &ConnectRequest) -> String {
    match &request.target {
        Some(Target::ManagerUrl(url)) => url.clone(),
        _ => String::new(),
    }
}

fn ip(words: &[&str]) {
    let _ = Command::new("ip").args(words).output();
}
