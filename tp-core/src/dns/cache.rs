//! Answers that are remembered for a moment, so that a program that asks for the same name for every request does
//! not ask the cluster every time.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How long applications may keep an answer of the cluster, and how long we do.
pub const POSITIVE: Duration = Duration::from_secs(4);
/// How long we keep that a name does not exist: a pod that starts should be found at once.
pub const NEGATIVE: Duration = Duration::from_secs(1);

/// Bounded: a full cache forgets what would expire first.
#[derive(Debug)]
pub struct Cache<K, V> {
    entries: HashMap<K, (Instant, V)>,
    max: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    pub fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), max: max.max(1) }
    }

    pub fn get(&self, key: &K, now: Instant) -> Option<V> {
        self.entries.get(key).filter(|(until, _)| *until > now).map(|(_, value)| value.clone())
    }

    pub fn insert(&mut self, key: K, value: V, keep: Duration, now: Instant) {
        if self.entries.len() >= self.max && !self.entries.contains_key(&key) {
            self.entries.retain(|_, (until, _)| *until > now);
        }
        if self.entries.len() >= self.max && !self.entries.contains_key(&key) {
            let first = self.entries.iter().min_by_key(|(_, (until, _))| *until).map(|(key, _)| key.clone());
            if let Some(first) = first {
                self.entries.remove(&first);
            }
        }
        self.entries.insert(key, (now + keep, value));
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_until_they_expire() {
        let start = Instant::now();
        let mut cache = Cache::new(10);
        cache.insert("echo", 1, POSITIVE, start);
        assert_eq!(cache.get(&"echo", start), Some(1));
        assert_eq!(cache.get(&"echo", start + POSITIVE), None);
        assert_eq!(cache.get(&"other", start), None);
    }

    #[test]
    fn a_full_cache_forgets_what_expires_first() {
        let start = Instant::now();
        let mut cache = Cache::new(2);
        cache.insert("old", 1, NEGATIVE, start);
        cache.insert("new", 2, POSITIVE, start);
        cache.insert("newest", 3, POSITIVE, start);
        assert_eq!(cache.len(), 2);
        assert_eq!(cache.get(&"old", start), None);
        assert_eq!((cache.get(&"new", start), cache.get(&"newest", start)), (Some(2), Some(3)));
    }
}
