//! One layer: what one source sets.

use std::fmt;

use ipnet::IpNet;

use super::error::{self, ConfigError, Problem};
use super::key::{Effect, Key};
use super::kind::Value;
use super::yaml::{self, Node, Place, Tree};
use crate::cluster::ClusterView;
use crate::routing::ProxyVia;

/// Where a layer comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    Default,
    Manager,
    /// Its path.
    File(String),
    /// The cluster extension of a context, and the file it is in.
    Kubeconfig {
        context: String,
        file: String,
    },
    /// `--also-proxy`
    Flag(String),
}

/// Where a value comes from, down to the line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    pub source: Source,
    pub place: Option<Place>,
}

/// What one source sets.
#[derive(Clone, PartialEq, Debug)]
pub struct Layer {
    pub(super) settings: Vec<Setting>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Setting {
    pub(super) key: Key,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

impl Layer {
    /// A text that has to be right as a whole.
    pub fn parse(source: Source, yaml: &str) -> Result<Self, ConfigError> {
        match Self::lenient(source, yaml) {
            (layer, problems) if problems.is_empty() => Ok(layer),
            (_, problems) => Err(ConfigError { problems }),
        }
    }

    /// A text of which everything counts that is right: what somebody else wrote must not stop us.
    pub fn lenient(source: Source, yaml: &str) -> (Self, Vec<Problem>) {
        match yaml::parse(yaml) {
            Ok(node) => Self::read(source, &node),
            Err(malformed) => {
                let problem = error::malformed(&source, &malformed);
                (Self { settings: Vec::new() }, vec![problem])
            }
        }
    }

    /// What the manager's ClusterInfo says of routes and names.
    pub fn of_cluster(view: &ClusterView) -> Self {
        let mut layer = Self { settings: Vec::new() };
        let mut add = |key, value| layer.add(key, value, Source::Manager);
        add(Key::AlsoProxy, Value::Subnets(view.also_proxy.clone()));
        add(Key::NeverProxy, Value::Subnets(view.never_proxy.clone()));
        add(Key::AllowConflicting, Value::Subnets(view.allow_conflicting.clone()));
        // a manager that has none does not say so, it says nothing
        for (key, suffixes) in
            [(Key::IncludeSuffixes, &view.include_suffixes), (Key::ExcludeSuffixes, &view.exclude_suffixes)]
        {
            if !suffixes.is_empty() {
                add(key, Value::Texts(suffixes.clone()));
            }
        }
        layer
    }

    /// What flags say: `--also-proxy` and its like. Lists that are empty were not given.
    pub fn of_flags(flags: &Flags) -> Self {
        let mut layer = Self { settings: Vec::new() };
        let subnets = [
            (Key::AlsoProxy, "--also-proxy", &flags.also_proxy),
            (Key::NeverProxy, "--never-proxy", &flags.never_proxy),
            (Key::AllowConflicting, "--allow-conflicting-subnets", &flags.allow_conflicting),
        ];
        for (key, flag, nets) in subnets {
            if !nets.is_empty() {
                layer.add(key, Value::Subnets(nets.clone()), Source::Flag(flag.to_owned()));
            }
        }
        for (flag, via) in [("--proxy-via", &flags.proxy_via), ("--vnat", &flags.vnat)] {
            if !via.is_empty() {
                layer.add(Key::ProxyVia, Value::ProxyVia(via.clone()), Source::Flag(flag.to_owned()));
            }
        }
        if let Some(namespace) = &flags.manager_namespace {
            let flag = Source::Flag("--manager-namespace".to_owned());
            layer.add(Key::ManagerNamespace, Value::Text(namespace.clone()), flag);
        }
        if let Some(level) = &flags.log_level {
            for key in [Key::RootDaemonLevel, Key::UserDaemonLevel] {
                layer.add(key, Value::Text(level.clone()), Source::Flag("--log-level".to_owned()));
            }
        }
        layer
    }

    pub(super) fn read(source: Source, node: &Node) -> (Self, Vec<Problem>) {
        let mut reader = Reader { source, settings: Vec::new(), problems: Vec::new() };
        reader.group("", node);
        (Self { settings: reader.settings }, reader.problems)
    }

    fn add(&mut self, key: Key, value: Value, source: Source) {
        self.settings.push(Setting { key, value, origin: Origin { source, place: None } });
    }
}

/// The flags of `tp connect` that are settings.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Flags {
    pub also_proxy: Vec<IpNet>,
    pub never_proxy: Vec<IpNet>,
    pub allow_conflicting: Vec<IpNet>,
    pub proxy_via: Vec<ProxyVia>,
    pub vnat: Vec<ProxyVia>,
    pub manager_namespace: Option<String>,
    pub log_level: Option<String>,
}

struct Reader {
    source: Source,
    settings: Vec<Setting>,
    problems: Vec<Problem>,
}

impl Reader {
    /// All keys below `path`.
    fn group(&mut self, path: &str, node: &Node) {
        let entries = match &node.tree {
            Tree::Map(entries) => entries,
            // `routing:` with all its lines commented out
            Tree::Null => return,
            other => {
                let name = if path.is_empty() { "the configuration".to_owned() } else { format!("`{path}`") };
                let what = format!("{name} must be a map of keys and values, and is {}", other.described());
                return self.problem(
                    node.place,
                    what,
                    "write each key on a line of its own below, indented, as in docs/configuration.md",
                );
            }
        };
        for entry in entries {
            let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
            match Key::find(&path) {
                Some(key) => self.key(key, &path, entry.place, &entry.value),
                None if Key::is_group(&path) => self.group(&path, &entry.value),
                None => self.problems.push(error::unknown(&self.source, entry.place, &path)),
            }
        }
    }

    fn key(&mut self, key: Key, path: &str, place: Place, node: &Node) {
        if let Some(twin) = self.settings.iter().find(|setting| setting.key == key) {
            let line = twin.origin.place.map_or(0, |place| place.line);
            let what = format!("`{path}` is another name of what line {line} sets already");
            return self.problem(place, what, "keep one of the two");
        }
        if self.source == Source::Manager && key.spec().effect == Effect::BeforeManager {
            let what = format!("`{path}` is needed before the manager can be asked");
            return self.problem(place, what, "set it in config.yml");
        }
        match key.spec().kind.read(node) {
            // `null` is not set
            Ok(Value::Unset) => {}
            Ok(value) => {
                let origin = Origin { source: self.source.clone(), place: Some(place) };
                self.settings.push(Setting { key, value, origin });
            }
            Err(wrong) => self.problems.push(error::wrong(&self.source, path, wrong)),
        }
    }

    fn problem(&mut self, place: Place, what: String, hint: &str) {
        let (source, hint) = (self.source.clone(), hint.to_owned());
        self.problems.push(Problem { source, place: Some(place), what, hint });
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Manager => f.write_str("manager"),
            Self::File(path) => f.write_str(path),
            Self::Kubeconfig { context, .. } => write!(f, "kubeconfig (context {context})"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, self.place) {
            (Source::File(path), Some(place)) => write!(f, "{path}:{}", place.line),
            (source, _) => source.fmt(f),
        }
    }
}
