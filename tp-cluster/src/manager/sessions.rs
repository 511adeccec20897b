//! The sessions of this manager, and what lives and dies with each: its flows and its watches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tp_core::sessions::{Agent, ArriveError, Client, Limits, Sessions};

use super::agents::Agents;

/// How often expired sessions are looked for (facts/telepresence-wire.md §2.3).
const SWEEP: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Registry {
    table: Mutex<Table>,
    /// Those in the table, sorted. Written under the table's lock.
    agents: watch::Sender<Vec<Agent>>,
    max_flows: usize,
    started: Instant,
}

#[derive(Debug)]
struct Table {
    sessions: Sessions,
    lives: HashMap<String, Life>,
}

/// What a session's streams hold on to.
#[derive(Clone, Debug)]
struct Life {
    ended: CancellationToken,
    flows: Arc<Semaphore>,
}

/// One flow of a session, counted for as long as this lives.
#[derive(Debug)]
pub(super) struct FlowSlot(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoFlow {
    UnknownSession,
    /// It is an agent's: agents open streams for intercepted connections only, and there are none yet.
    NotAClient,
    /// The session has as many flows as it may have.
    TooMany,
}

impl Registry {
    pub(super) fn new(limits: Limits, max_flows: usize) -> Self {
        let table = Table { sessions: Sessions::new(limits), lives: HashMap::new() };
        // a semaphore cannot count further
        let max_flows = max_flows.min(Semaphore::MAX_PERMITS);
        Self {
            table: Mutex::new(table),
            agents: watch::Sender::default(),
            max_flows,
            started: Instant::now(),
        }
    }

    /// Admits a client; its session id is random.
    pub(super) fn arrive(&self, client: Client) -> Result<String, ArriveError> {
        let id = random_uuid();
        let mut table = self.lock();
        table.sessions.arrive(id.clone(), client, self.now())?;
        table.lives.insert(id.clone(), self.life());
        Ok(id)
    }

    /// Admits an agent. Its id says that it is one (facts/telepresence-wire.md §2.3).
    pub(super) fn arrive_agent(&self, agent: Agent) -> Result<String, ArriveError> {
        let id = format!("agent:{}", random_uuid());
        let mut table = self.lock();
        table.sessions.arrive_agent(id.clone(), agent, self.now())?;
        table.lives.insert(id.clone(), self.life());
        self.tell_agents(&table);
        Ok(id)
    }

    /// All agents, as they come and go.
    pub(super) fn agents(&self) -> Agents {
        self.agents.subscribe()
    }

    pub(super) fn is_agent(&self, id: &str) -> bool {
        self.lock().sessions.agent(id).is_some()
    }

    #[must_use]
    pub(super) fn remain(&self, id: &str) -> bool {
        let now = self.now();
        self.lock().sessions.remain(id, now)
    }

    /// Ends the session and everything that lives with it.
    pub(super) fn depart(&self, id: &str) -> bool {
        let mut table = self.lock();
        table.end(id);
        let known = table.sessions.depart(id);
        self.tell_agents(&table);
        known
    }

    pub(super) fn client(&self, id: &str) -> Option<Client> {
        self.lock().sessions.client(id).cloned()
    }

    /// Cancelled when the session ends; `None` if there is no such session.
    pub(super) fn ended(&self, id: &str) -> Option<CancellationToken> {
        self.lock().lives.get(id).map(|life| life.ended.clone())
    }

    /// Room for one more flow of the session. A flow is a sign of life.
    pub(super) fn flow(&self, id: &str) -> Result<(FlowSlot, CancellationToken), NoFlow> {
        let now = self.now();
        let mut table = self.lock();
        if !table.sessions.remain(id, now) {
            return Err(NoFlow::UnknownSession);
        }
        if table.sessions.client(id).is_none() {
            return Err(NoFlow::NotAClient);
        }
        let life = table.lives.get(id).ok_or(NoFlow::UnknownSession)?;
        let slot = Arc::clone(&life.flows).try_acquire_owned().map_err(|_| NoFlow::TooMany)?;
        Ok((FlowSlot(slot), life.ended.clone()))
    }

    /// Flows of all sessions.
    pub(super) fn flows(&self) -> usize {
        self.lock().lives.values().map(|life| self.max_flows - life.flows.available_permits()).sum()
    }

    /// Looks for expired sessions, for ever.
    pub(super) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let now = self.now();
            let mut table = self.lock();
            for id in table.sessions.expire(now) {
                tracing::info!(session = id, "session expired");
                table.end(&id);
            }
            self.tell_agents(&table);
        }
    }

    /// A word to whoever follows the agents, if they changed.
    fn tell_agents(&self, table: &Table) {
        let mut now: Vec<Agent> = table.sessions.agents().cloned().collect();
        now.sort();
        self.agents.send_if_modified(|agents| {
            let changed = *agents != now;
            *agents = now;
            changed
        });
    }

    fn life(&self) -> Life {
        Life { ended: CancellationToken::new(), flows: Arc::new(Semaphore::new(self.max_flows)) }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // nothing panics while it is held
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn end(&mut self, id: &str) {
        if let Some(life) = self.lives.remove(id) {
            life.ended.cancel();
        }
    }
}

/// A random (version 4) UUID. Whoever knows a session's id is that session, so it must not be guessed.
fn random_uuid() -> String {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes).expect("the kernel has random bytes");
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client {
            name: "me@laptop".into(),
            install_id: "1".into(),
            product: "tp".into(),
            version: "0.1.0".into(),
            namespace: "default".into(),
        }
    }

    #[test]
    fn what_lives_with_a_session_ends_with_it() {
        let registry = Registry::new(Limits::default(), 2);
        let id = registry.arrive(client()).unwrap();
        let (_slot, ended) = registry.flow(&id).unwrap();
        assert_eq!(registry.flows(), 1);
        assert!(registry.depart(&id));
        assert!(ended.is_cancelled());
        assert_eq!(registry.flow(&id).unwrap_err(), NoFlow::UnknownSession);
        assert!(!registry.remain(&id));
        assert!(!registry.depart(&id));
    }

    #[test]
    fn flows_are_bounded_per_session_and_given_back() {
        let registry = Registry::new(Limits::default(), 1);
        let (one, two) = (registry.arrive(client()).unwrap(), registry.arrive(client()).unwrap());
        let (slot, _) = registry.flow(&one).unwrap();
        assert_eq!(registry.flow(&one).unwrap_err(), NoFlow::TooMany);
        assert!(registry.flow(&two).is_ok());
        drop(slot);
        assert!(registry.flow(&one).is_ok());
    }

    #[test]
    fn agents_are_told_as_they_come_and_go_and_have_no_flows() {
        let mechanism = tp_core::sessions::Mechanism {
            name: "tcp".into(),
            product: "tp".into(),
            version: "0.1.0".into(),
        };
        let agent = Agent {
            namespace: "default".into(),
            workload: "echo".into(),
            product: "tp".into(),
            version: "0.1.0".into(),
            mechanisms: vec![mechanism],
            ..Agent::default()
        };
        let registry = Registry::new(Limits::default(), 1);
        let mut agents = registry.agents();
        let id = registry.arrive_agent(agent.clone()).unwrap();
        assert!(id.starts_with("agent:") && id.len() == 42, "{id}");
        assert_eq!(*agents.borrow_and_update(), [agent]);
        assert!(registry.is_agent(&id) && registry.remain(&id));
        assert_eq!(registry.flow(&id).unwrap_err(), NoFlow::NotAClient);
        // a client is no news
        registry.arrive(client()).unwrap();
        assert!(!agents.has_changed().unwrap());
        assert!(registry.depart(&id));
        assert_eq!(*agents.borrow_and_update(), []);
    }

    #[test]
    fn ids_are_uuids_and_differ() {
        let (one, two) = (random_uuid(), random_uuid());
        assert_eq!(one.len(), 36);
        assert_eq!(&one[14..15], "4");
        assert_ne!(one, two);
    }
}
