//! Who is connected to a manager: sessions of clients, from their arrival to their departure or expiry.
//!
//! The session id is the only credential of a client inside a cluster (facts/telepresence-wire.md §1), so whoever is
//! not in this table gets nothing. Times are durations on one monotonic clock.

use std::collections::HashMap;
use std::time::Duration;

use semver::Version;

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
    /// A session without a sign of life ends after this long.
    pub ttl: Duration,
    pub max_sessions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(24 * 60 * 60), max_sessions: 10_000 }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ArriveError {
    #[error("the client's {0} is empty")]
    Missing(&'static str),
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
    client: Client,
    last_sign_of_life: Duration,
}

impl Sessions {
    pub fn new(limits: Limits) -> Self {
        Self { limits, by_id: HashMap::new() }
    }

    /// Admits a client under an id that was never used before.
    pub fn arrive(&mut self, id: String, client: Client, now: Duration) -> Result<(), ArriveError> {
        check(&client)?;
        if self.by_id.len() >= self.limits.max_sessions {
            return Err(ArriveError::Full(self.by_id.len()));
        }
        self.by_id.insert(id, Session { client, last_sign_of_life: now });
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
        self.by_id.get(id).map(|session| &session.client)
    }

    /// Takes out the sessions whose time is over.
    pub fn expire(&mut self, now: Duration) -> Vec<String> {
        let ttl = self.limits.ttl;
        let mut over = Vec::new();
        self.by_id.retain(|id, session| {
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client() -> Client {
        Client {
            name: "me@laptop".into(),
            install_id: "1".into(),
            product: "telepresence".into(),
            version: "v2.20.2".into(),
            namespace: "default".into(),
        }
    }

    fn arrive(client: Client) -> Result<(), ArriveError> {
        Sessions::new(Limits::default()).arrive("id".into(), client, Duration::ZERO)
    }

    #[test]
    fn what_a_client_must_say() {
        assert_eq!(arrive(client()), Ok(()));
        assert_eq!(arrive(Client { namespace: String::new(), ..client() }), Ok(()));
        for (incomplete, field) in [
            (Client { name: String::new(), ..client() }, "name"),
            (Client { install_id: String::new(), ..client() }, "install id"),
            (Client { product: String::new(), ..client() }, "product"),
            (Client { version: String::new(), ..client() }, "version"),
        ] {
            assert_eq!(arrive(incomplete), Err(ArriveError::Missing(field)));
        }
    }

    #[test]
    fn versions() {
        let with = |version: &str, product: &str| {
            arrive(Client { version: version.into(), product: product.into(), ..client() })
        };
        assert_eq!(with("2.6.0", "telepresence"), Ok(()));
        assert_eq!(with("v2.6.0-rc.1", "telepresence"), Ok(()));
        assert_eq!(with("v2.5.9", "telepresence"), Err(ArriveError::TooOld(Version::new(2, 5, 9))));
        assert_eq!(with("0.1.0", "tp"), Ok(()));
        assert_eq!(with("latest", "tp"), Err(ArriveError::Version("latest".into())));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Arrive,
        Remain(u8),
        Depart(u8),
        Wait(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Arrive),
            (0u8..6).prop_map(Step::Remain),
            (0u8..6).prop_map(Step::Depart),
            (0u8..20).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Against a model that keeps every sign of life and looks at all of them.
        #[test]
        fn a_session_lives_while_it_gives_signs_of_life(steps in proptest::collection::vec(step(), 1..200)) {
            let limits = Limits { ttl: Duration::from_secs(30), max_sessions: 4 };
            let mut sessions = Sessions::new(limits);
            let mut model: Vec<(String, u64)> = Vec::new();
            let (mut now, mut next) = (0u64, 0u32);
            // `n` names the n-th session that ever was, living or not
            let nth = |n: u8, model: &[(String, u64)], next: u32| {
                model.get(usize::from(n)).map_or_else(|| format!("gone-{}", next + u32::from(n)), |s| s.0.clone())
            };
            for step in steps {
                let at = Duration::from_secs(now);
                match step {
                    Step::Arrive => {
                        next += 1;
                        let admitted = sessions.arrive(next.to_string(), client(), at).is_ok();
                        prop_assert_eq!(admitted, model.len() < limits.max_sessions);
                        if admitted {
                            model.push((next.to_string(), now));
                        }
                    }
                    Step::Remain(n) => {
                        let id = nth(n, &model, next);
                        let known = model.iter_mut().find(|s| s.0 == id).map(|s| s.1 = now).is_some();
                        prop_assert_eq!(sessions.remain(&id, at), known);
                    }
                    Step::Depart(n) => {
                        let id = nth(n, &model, next);
                        let before = model.len();
                        model.retain(|s| s.0 != id);
                        prop_assert_eq!(sessions.depart(&id), before != model.len());
                    }
                    Step::Wait(seconds) => now += u64::from(seconds),
                }
                let mut over = sessions.expire(Duration::from_secs(now));
                let mut expected: Vec<String> =
                    model.iter().filter(|s| now - s.1 >= 30).map(|s| s.0.clone()).collect();
                over.sort();
                expected.sort();
                prop_assert_eq!(over, expected);
                model.retain(|s| now - s.1 < 30);
                prop_assert_eq!(sessions.len(), model.len());
                for (id, _) in &model {
                    prop_assert!(sessions.client(id).is_some());
                }
            }
        }
    }
}
