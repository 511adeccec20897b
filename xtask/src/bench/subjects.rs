//! What is compared: ways of an app's bytes to the sink, each with a workstation of its own, all wired alike.
use anyhow::Result;

use super::metrics::Case;
use super::namespace::Namespace;
use super::place::{Place, Server};
use super::programs::Programs;
use super::run::Run;
use super::session::Session;

#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// Where the load generator runs.
    pub(crate) place: Place,
    /// HOST:PORT of the sink as apps use it there; the host may be a name.
    pub(crate) target: String,
    pub(crate) udp: bool,
    /// A name to look up.
    pub(crate) dns: Option<String>,
    /// Processes whose time on the processor is counted, beside the daemon.
    roles: Vec<(&'static str, u32)>,
    // in this order they end: the daemon, servers, the namespace
    pub(crate) session: Option<Session>,
    servers: Vec<Server>,
    _namespace: Option<Namespace>,
}

/// A place where subjects are compared with each other.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) subjects: Vec<Subject>,
    /// The sink's pid where it is a process of ours: it shows how many connections are open.
    pub(crate) sink: Option<u32>,
    pub(crate) programs: Programs,
    // after the subjects
    pub(crate) _servers: Vec<Server>,
    /// What all of them stand on.
    pub(crate) _ground: Box<dyn Ground>,
}

/// Held until it is dropped.
pub(crate) trait Ground: std::fmt::Debug + Sync {}
impl<T: std::fmt::Debug + Sync> Ground for T {}

impl Subject {
    pub(crate) fn new(name: &'static str, place: Place, target: &str) -> Self {
        Self {
            name,
            place,
            target: target.to_owned(),
            udp: false,
            dns: None,
            roles: Vec::new(),
            session: None,
            servers: Vec::new(),
            _namespace: None,
        }
    }

    /// On a workstation that goes with the subject.
    pub(crate) fn on(name: &'static str, namespace: Namespace, target: &str) -> Self {
        let mut subject = Self::new(name, namespace.place(), target);
        subject._namespace = Some(namespace);
        subject
    }

    #[must_use]
    pub(crate) fn udp(mut self, name: &str) -> Self {
        self.udp = true;
        self.dns = Some(name.to_owned());
        self
    }

    #[must_use]
    pub(crate) fn session(mut self, session: Session) -> Self {
        self.session = Some(session);
        self
    }

    #[must_use]
    pub(crate) fn server(mut self, role: &'static str, server: Server) -> Self {
        self.roles.push((role, server.pid()));
        self.servers.push(server);
        self
    }

    /// Processes of others that carry its bytes too.
    #[must_use]
    pub(crate) fn roles(mut self, roles: &[(&'static str, u32)]) -> Self {
        self.roles.extend(roles);
        self
    }

    /// All whose time is counted.
    pub(crate) fn processes(&self) -> Vec<(&'static str, u32)> {
        let daemon = self.session.iter().map(|session| ("daemon", session.daemon()));
        daemon.chain(self.roles.iter().copied()).collect()
    }

    pub(crate) fn can(&self, case: Case) -> bool {
        case.takes_turns() && (!case.is_udp() || self.udp) && (case != Case::Dns || self.dns.is_some())
    }
}

/// Those of `names` that are wanted, in this order. One that cannot be made is told and left out.
pub(crate) fn wanted(
    setting: &str,
    names: &[&'static str],
    wanted: impl Fn(&str) -> bool,
    run: &mut Run,
    make: impl Fn(usize, &'static str) -> Result<Subject>,
) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for (n, name) in names.iter().copied().enumerate().filter(|(_, name)| wanted(name)) {
        match make(n, name) {
            Ok(subject) => subjects.push(subject),
            Err(error) => run.fail(format!("{setting}, {name}: {error:#}")),
        }
    }
    subjects
}
