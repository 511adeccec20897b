//! What holds for each key, and which layer says so.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;

use super::key::Key;
use super::kind::{LEVELS, Value};
use super::layer::{Layer, Origin, Source};
use super::yaml;
use crate::routing::ProxyVia;

/// For each key one value; for a key that adds up, one of each layer that has something new to say.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Values(BTreeMap<Key, Vec<(Value, Origin)>>);

impl Values {
    /// The defaults, and `layers` from low to high over them.
    pub(super) fn merge<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Self {
        let mut values = Self::default();
        for key in Key::ALL {
            values.set(*key, default(*key), Origin { source: Source::Default, place: None });
        }
        for setting in layers.into_iter().flat_map(|layer| &layer.settings) {
            values.set(setting.key, setting.value.clone(), setting.origin.clone());
        }
        values
    }

    /// Each value that counts, low to high; one at least.
    pub(super) fn of(&self, key: Key) -> &[(Value, Origin)] {
        self.0.get(&key).map(Vec::as_slice).unwrap_or_default()
    }

    fn set(&mut self, key: Key, value: Value, origin: Origin) {
        let said = self.0.entry(key).or_default();
        if !key.spec().adds_up {
            *said = vec![(value, origin)];
            return;
        }
        let value = said.iter().fold(value, |value, (lower, _)| value.without(lower));
        if value.is_empty_list() && !said.is_empty() {
            return;
        }
        // an empty default says nothing any more
        said.retain(|(value, _)| !value.is_empty_list());
        said.push((value, origin));
    }

    pub(super) fn last(&self, key: Key) -> Option<&Value> {
        self.of(key).last().map(|(value, _)| value)
    }

    pub(super) fn bool(&self, key: Key) -> bool {
        matches!(self.last(key), Some(Value::Bool(true)))
    }

    pub(super) fn duration(&self, key: Key) -> Duration {
        match self.last(key) {
            Some(Value::Duration(duration)) => *duration,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn text(&self, key: Key) -> Option<String> {
        match self.last(key) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn texts(&self, key: Key) -> Vec<String> {
        match self.last(key) {
            Some(Value::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn subnets(&self, key: Key) -> Vec<IpNet> {
        let nets = self.of(key).iter().map(|(value, _)| match value {
            Value::Subnets(nets) => nets.as_slice(),
            _ => &[],
        });
        nets.flatten().copied().collect()
    }

    pub(super) fn proxy_via(&self, key: Key) -> Vec<ProxyVia> {
        let all = self.of(key).iter().map(|(value, _)| match value {
            Value::ProxyVia(all) => all.as_slice(),
            _ => &[],
        });
        all.flatten().cloned().collect()
    }

    /// tp has one daemon. Of the two levels, those that somebody set count, and of these the one that tells more.
    pub(super) fn daemon_level(&self) -> String {
        let keys = [Key::RootDaemonLevel, Key::UserDaemonLevel];
        let is_set =
            |key: &&Key| self.of(**key).last().is_some_and(|(_, origin)| origin.source != Source::Default);
        let rank = |level: &String| LEVELS.iter().position(|known| known == level);
        let set = keys.iter().filter(is_set).filter_map(|key| self.text(*key)).max_by_key(rank);
        set.or_else(|| self.text(Key::RootDaemonLevel)).unwrap_or_default()
    }
}

impl Value {
    fn is_empty_list(&self) -> bool {
        match self {
            Self::Subnets(nets) => nets.is_empty(),
            Self::ProxyVia(all) => all.is_empty(),
            Self::Texts(texts) => texts.is_empty(),
            Self::Mappings(all) => all.is_empty(),
            _ => false,
        }
    }

    /// The items that `lower` does not have; each once.
    fn without(self, lower: &Self) -> Self {
        match (self, lower) {
            (Self::Subnets(nets), Self::Subnets(lower)) => Self::Subnets(new_in(nets, lower)),
            (Self::ProxyVia(all), Self::ProxyVia(lower)) => Self::ProxyVia(new_in(all, lower)),
            (value, _) => value,
        }
    }
}

fn new_in<T: PartialEq>(items: Vec<T>, lower: &[T]) -> Vec<T> {
    let mut new: Vec<T> = Vec::new();
    for item in items {
        if !lower.contains(&item) && !new.contains(&item) {
            new.push(item);
        }
    }
    new
}

/// What the table says; a test sees to it that all of them can be read.
fn default(key: Key) -> Value {
    let spec = key.spec();
    yaml::parse(spec.default).ok().and_then(|node| spec.kind.read(&node).ok()).unwrap_or(Value::Unset)
}
