//! What is wrong with a configuration, for people: each thing with file, line and column.

use std::fmt;

use super::key::Key;
use super::kind::Wrong;
use super::layer::Source;
use super::yaml::{Malformed, Place};

const ALL_KEYS: &str = "docs/configuration.md lists the keys, `tp config schema` prints their JSON schema";

/// One thing that is wrong.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem {
    pub source: Source,
    /// `None` if it is the source as a whole, or not known.
    pub place: Option<Place>,
    pub what: String,
    pub hint: String,
}

/// Everything that is wrong with one source.
#[derive(Clone, PartialEq, Debug)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// A source that could not be read at all.
    pub fn unreadable(source: Source, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { problems: vec![Problem { source, place: None, what: what.into(), hint: hint.into() }] }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self.problems.as_slice() {
            [one] => one.hint.clone(),
            _ => format!("correct or remove each of them; {ALL_KEYS}"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => one.fmt(f),
            all => {
                write!(f, "{} things are wrong", all.len())?;
                all.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, self.place) {
            (Source::File(path) | Source::Kubeconfig { file: path, .. }, Some(place)) => {
                write!(f, "{path}:{place}: ")?;
            }
            (Source::File(path) | Source::Kubeconfig { file: path, .. }, None) => write!(f, "{path}: ")?,
            (Source::Manager, Some(place)) => {
                write!(f, "the manager's client configuration, line {}: ", place.line)?;
            }
            (Source::Manager, None) => f.write_str("the manager's client configuration: ")?,
            (Source::Flag(flag), _) => write!(f, "{flag}: ")?,
            (Source::Default, _) => {}
        }
        f.write_str(&self.what)
    }
}

/// A key that nobody knows.
pub(super) fn unknown(source: &Source, place: Place, path: &str) -> Problem {
    let (nearest, hint) = match Key::nearest(path) {
        Some(key) => {
            (format!("; the nearest is `{key}`"), format!("write `{key}`, or remove it; {ALL_KEYS}"))
        }
        None => (String::new(), format!("remove it; {ALL_KEYS}")),
    };
    let what = format!("`{path}` is not a key of the configuration{nearest}");
    Problem { source: source.clone(), place: Some(place), what, hint }
}

/// A value that its key does not take.
pub(super) fn wrong(source: &Source, path: &str, wrong: Wrong) -> Problem {
    let what = format!("`{path}{}` must be {}, and is {}", wrong.below, wrong.wanted, wrong.found);
    let correct = || match Key::find(path).map(|key| key.spec().default) {
        None | Some("null") => "correct it, or remove it".to_owned(),
        Some(default) => format!("correct it, or remove it: it is {default} unless it is set"),
    };
    let hint = wrong.hint.unwrap_or_else(correct);
    Problem { source: source.clone(), place: Some(wrong.place), what, hint }
}

pub(super) fn malformed(source: &Source, malformed: &Malformed) -> Problem {
    Problem {
        source: source.clone(),
        place: malformed.place,
        what: format!("this cannot be read as YAML: {}", malformed.what),
        hint: "look at the indentation, quotes and brackets there and in the lines before".to_owned(),
    }
}
