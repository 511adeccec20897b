//! Who is connected to a manager: sessions of clients and agents, from their arrival to their departure or expiry.
//!
//! The session id is the only credential inside a cluster (facts/telepresence-wire.md §1), so whoever is not in this
//! table gets nothing. Times are durations on one monotonic clock.

mod agents;

use std::collections::HashMap;
use std::time::Duration;

use semver::Version;

pub use agents::{Agent, Mechanism};

/// What a client said about itself when it arrived.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Client {
    /// `user@host`.
    pub name: String,
    pub install_id: String,
    pub product: String,
    pub version: String,
    /// The connected namespace: names without a namespace are looked up here.
    pub namespace: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// A client without a sign of life is forgotten after this long.
    pub ttl: Duration,
    /// The same for an agent: it gives one every 5 s, and whoever counts on a dead one waits in vain.
    pub agent_ttl: Duration,
    pub max_sessions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(24 * 60 * 60),
            agent_ttl: Duration::from_secs(15),
            max_sessions: 10_000,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ArriveError {
    #[error("the client's {0} is empty")]
    Missing(&'static str),
    #[error("the agent's {0}")]
    Agent(&'static str),
    #[error("the client's version {0:?} is no semantic version")]
    Version(String),
    #[error("clients before 2.6.0 are not supported, this one is {0}")]
    TooOld(Version),
    #[error("there are {0} sessions already")]
    Full(usize),
}

/// Oldest Telepresence client that speaks this protocol.
const OLDEST_TELEPRESENCE: Version = Version::new(2, 6, 0);

#[derive(Debug)]
pub struct Sessions {
    limits: Limits,
    by_id: HashMap<String, Session>,
}

#[derive(Debug)]
struct Session {
    member: Member,
    last_sign_of_life: Duration,
}

#[derive(Debug)]
enum Member {
    Client(Client),
    Agent(Box<Agent>),
}

impl Sessions {
    pub fn new(limits: Limits) -> Self {
        Self { limits, by_id: HashMap::new() }
    }

    /// Admits a client under an id that was never used before.
    pub fn arrive(&mut self, id: String, client: Client, now: Duration) -> Result<(), ArriveError> {
        check(&client)?;
        self.admit(id, Member::Client(client), now)
    }

    /// Admits an agent under an id that was never used before.
    pub fn arrive_agent(&mut self, id: String, agent: Agent, now: Duration) -> Result<(), ArriveError> {
        agent.check()?;
        self.admit(id, Member::Agent(Box::new(agent)), now)
    }

    fn admit(&mut self, id: String, member: Member, now: Duration) -> Result<(), ArriveError> {
        if self.by_id.len() >= self.limits.max_sessions {
            return Err(ArriveError::Full(self.by_id.len()));
        }
        self.by_id.insert(id, Session { member, last_sign_of_life: now });
        Ok(())
    }

    /// A sign of life. `false`: no such session, the client has to arrive again.
    #[must_use]
    pub fn remain(&mut self, id: &str, now: Duration) -> bool {
        let session = self.by_id.get_mut(id);
        session.map(|session| session.last_sign_of_life = now).is_some()
    }

    /// `false`: there was no such session.
    pub fn depart(&mut self, id: &str) -> bool {
        self.by_id.remove(id).is_some()
    }

    pub fn client(&self, id: &str) -> Option<&Client> {
        match &self.by_id.get(id)?.member {
            Member::Client(client) => Some(client),
            Member::Agent(_) => None,
        }
    }

    pub fn agent(&self, id: &str) -> Option<&Agent> {
        match &self.by_id.get(id)?.member {
            Member::Agent(agent) => Some(agent),
            Member::Client(_) => None,
        }
    }

    /// All agents, in no particular order.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.by_id.values().filter_map(|session| match &session.member {
            Member::Agent(agent) => Some(&**agent),
            Member::Client(_) => None,
        })
    }

    /// Takes out the sessions whose time is over.
    pub fn expire(&mut self, now: Duration) -> Vec<String> {
        let Limits { ttl: client_ttl, agent_ttl, .. } = self.limits;
        let mut over = Vec::new();
        self.by_id.retain(|id, session| {
            let ttl = match session.member {
                Member::Client(_) => client_ttl,
                Member::Agent(_) => agent_ttl,
            };
            let alive = now.saturating_sub(session.last_sign_of_life) < ttl;
            if !alive {
                over.push(id.clone());
            }
            alive
        });
        over
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

fn check(client: &Client) -> Result<(), ArriveError> {
    for (value, field) in [
        (&client.name, "name"),
        (&client.install_id, "install id"),
        (&client.product, "product"),
        (&client.version, "version"),
    ] {
        if value.is_empty() {
            return Err(ArriveError::Missing(field));
        }
    }
    let version = client.version.strip_prefix('v').unwrap_or(&client.version);
    let version = Version::parse(version).map_err(|_| ArriveError::Version(client.version.clone()))?;
    // a pre-release of 2.6.0 has the protocol of 2.6.0; our own clients count their versions differently
    let release = Version::new(version.major, version.minor, version.patch);
    if client.product == "telepresence" && release < OLDEST_TELEPRESENCE {
        return Err(ArriveError::TooOld(version));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
