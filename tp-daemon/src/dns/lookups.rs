//! Questions to the cluster: each is asked once, however many apps wait for the answer, and kept for a moment.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hickory_server::proto::rr::Record;
use hickory_server::proto::serialize::binary::{BinDecodable, BinDecoder};
use tokio::sync::OnceCell;
use tp_core::dns::cache::{Cache, NEGATIVE, POSITIVE};
use tp_core::dns::message::{NOERROR, NXDOMAIN, SERVFAIL};
use tp_core::dns::{LOOKUP_TIMEOUT, Name, rtype};

const MAX_CACHED: usize = 4096;
/// How long a question waits for the same question of somebody else, when that may be itself: a cluster on this
/// machine may ask this machine for what it does not know.
const PERHAPS_A_LOOP: Duration = Duration::from_secs(1);
/// The same, once it is known that the cluster does so.
const LIKELY_A_LOOP: Duration = Duration::from_millis(100);

/// Asks the cluster. The session implements it with the manager's LookupDNS.
pub trait ClusterLookup: Send + Sync {
    /// `name` is lower case and ends with a dot.
    fn lookup(&self, name: &str, rtype: u16) -> Looking;
}

pub type Looking = Pin<Box<dyn Future<Output = Result<Answer, LookupError>> + Send>>;

/// What the manager said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub rcode: i32,
    /// Records as in RFC 1035, one after the other, names not compressed.
    pub records: Bytes,
}

/// Why the manager said nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LookupError {
    #[error("the manager cannot be reached")]
    Unreachable,
    #[error("the manager failed: {0}")]
    Failed(String),
}

/// What is known of a name and type.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Found {
    pub(super) rcode: u8,
    pub(super) records: Vec<Record>,
}

type Key = (Name, u16);
type UnderWay = HashMap<Key, Arc<OnceCell<Arc<Found>>>>;

pub(super) struct Lookups {
    cluster: Arc<dyn ClusterLookup>,
    known: Mutex<Known>,
    loops: AtomicBool,
    /// In milliseconds.
    patience: AtomicU64,
}

/// Whether the cluster may ask us for a name that we ask it for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Authority {
    /// The cluster answers such names on its own.
    Cluster,
    /// The cluster may pass the question on, in the end to us.
    Anybody,
}

struct Known {
    cache: Cache<Key, Arc<Found>>,
    under_way: UnderWay,
}

impl Lookups {
    pub(super) fn new(cluster: Arc<dyn ClusterLookup>) -> Self {
        let known = Known { cache: Cache::new(MAX_CACHED), under_way: HashMap::new() };
        let patience = AtomicU64::new(millis(LOOKUP_TIMEOUT));
        Self { cluster, known: Mutex::new(known), loops: AtomicBool::new(false), patience }
    }

    /// Records of that name and type; a name that has only others is there, without records.
    pub(super) async fn find(&self, name: &Name, rtype: u16, authority: Authority) -> Arc<Found> {
        let found = self.once(name, rtype, authority).await;
        let Some(sibling) = rtype::sibling(rtype).filter(|_| found.rcode == NXDOMAIN) else { return found };
        // Some resolvers take "no such name" for one address family as the end of the name.
        if self.once(name, sibling, authority).await.rcode == NOERROR {
            Found::nothing(NOERROR)
        } else {
            found
        }
    }

    /// Names may mean something else from now on, and the cluster may take so long for one.
    pub(super) fn start_again(&self, patience: Duration) {
        self.patience.store(millis(patience), Ordering::Relaxed);
        let mut known = self.known();
        known.cache.clear();
        known.under_way.clear();
    }

    /// Asks the cluster for a name that nobody has; whoever gets that question back calls [`Lookups::looped`].
    pub(super) async fn check_for_loops(&self, name: &Name) {
        let _ = self.ask(name, rtype::A).await;
    }

    pub(super) fn looped(&self) {
        if !self.loops.swap(true, Ordering::Relaxed) {
            tracing::info!("the cluster asks this machine for names that it does not know");
        }
    }

    async fn once(&self, name: &Name, rtype: u16, authority: Authority) -> Arc<Found> {
        let key = (name.clone(), rtype);
        let (cell, first) = {
            let mut known = self.known();
            if let Some(found) = known.cache.get(&key, Instant::now()) {
                return found;
            }
            let first = !known.under_way.contains_key(&key);
            (Arc::clone(known.under_way.entry(key.clone()).or_default()), first)
        };
        // If the app that asks is given up, one of those that wait takes over.
        let found = cell.get_or_init(|| self.ask(name, rtype));
        let found = if first || authority == Authority::Cluster {
            Arc::clone(found.await)
        } else {
            let loops = self.loops.load(Ordering::Relaxed);
            match tokio::time::timeout(if loops { LIKELY_A_LOOP } else { PERHAPS_A_LOOP }, found).await {
                Ok(found) => Arc::clone(found),
                Err(_) => return Found::nothing(NXDOMAIN),
            }
        };
        let mut known = self.known();
        // not if `start_again` came between
        if known.under_way.get(&key).is_some_and(|current| Arc::ptr_eq(current, &cell)) {
            known.under_way.remove(&key);
            if let Some(keep) = found.keep() {
                known.cache.insert(key, Arc::clone(&found), keep, Instant::now());
            }
        }
        found
    }

    async fn ask(&self, name: &Name, rtype: u16) -> Arc<Found> {
        let patience = Duration::from_millis(self.patience.load(Ordering::Relaxed));
        match tokio::time::timeout(patience, self.cluster.lookup(&name.fqdn(), rtype)).await {
            Ok(Ok(answer)) => Found::read(name, &answer),
            Ok(Err(error)) => {
                tracing::debug!(%name, rtype, %error, "a name could not be looked up in the cluster");
                Found::nothing(SERVFAIL)
            }
            Err(_) => {
                tracing::debug!(%name, rtype, "the manager did not answer in time");
                Found::nothing(SERVFAIL)
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn nothing(rcode: u8) -> Arc<Self> {
        Arc::new(Self { rcode, records: Vec::new() })
    }

    fn read(name: &Name, answer: &Answer) -> Arc<Self> {
        let rcode = u8::try_from(answer.rcode).ok().filter(|rcode| *rcode < 16).unwrap_or(SERVFAIL);
        match records(&answer.records) {
            Some(records) => Arc::new(Self { rcode, records }),
            None => {
                tracing::warn!(%name, "the manager's answer could not be understood");
                Self::nothing(SERVFAIL)
            }
        }
    }

    /// How long to keep it. A failure is not kept: the next try may succeed.
    fn keep(&self) -> Option<Duration> {
        match self.rcode {
            NOERROR if !self.records.is_empty() => Some(POSITIVE),
            NOERROR | NXDOMAIN => Some(NEGATIVE),
            _ => None,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn records(bytes: &[u8]) -> Option<Vec<Record>> {
    let mut decoder = BinDecoder::new(bytes);
    let mut records = Vec::new();
    let ttl = u32::try_from(POSITIVE.as_secs()).unwrap_or(1);
    while !decoder.is_empty() {
        let mut record = Record::read(&mut decoder).ok()?;
        record.ttl = ttl;
        records.push(record);
    }
    Some(records)
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}
