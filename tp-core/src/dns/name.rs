//! Domain names that a cluster could have: lower case, no trailing dot, nothing that needs escaping.

use std::fmt;

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Compares and matches by label, never by character: `notcluster.local` is not under `cluster.local`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// `None` if it is no name that we would ask a cluster for.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let fits = text.len() <= MAX_NAME && text.split('.').all(|label| is_label(label.as_bytes()));
        fits.then(|| Self(text.to_ascii_lowercase()))
    }

    /// As users write suffixes: `.com`, `com`, `com.`, `~com`.
    pub fn suffix(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('~').unwrap_or(text);
        Self::parse(text.strip_prefix('.').unwrap_or(text))
    }

    /// From the labels of a question. `None` for the root, and for what needs escaping.
    pub(super) fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut name = String::new();
        for label in labels {
            if !is_label(label) {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        }
        (!name.is_empty() && name.len() <= MAX_NAME).then_some(Self(name))
    }

    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// Equal to the suffix, or ends with it after a dot.
    pub fn is_under(&self, suffix: &Name) -> bool {
        let rest = self.0.strip_suffix(suffix.0.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// As the manager wants it: with the trailing dot.
    pub fn fqdn(&self) -> String {
        format!("{}.", self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Anything printable is let through: `_tcp`, and whatever a service of tomorrow may be called.
fn is_label(label: &[u8]) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'.' | b'\\'))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_match_at_label_boundaries() {
        let name = |text| Name::parse(text).unwrap();
        assert!(name("echo.cluster.local").is_under(&name("cluster.local")));
        assert!(name("CLUSTER.local.").is_under(&name("cluster.local")));
        assert!(!name("notcluster.local").is_under(&name("cluster.local")));
        assert!(!name("local").is_under(&name("cluster.local")));
    }

    #[test]
    fn suffixes_are_read_as_users_write_them() {
        for text in [".com", "com", "com.", "~com", " COM "] {
            assert_eq!(Name::suffix(text), Name::parse("com"), "{text:?}");
        }
        for text in ["", ".", "~", "..", "a..b", "a b", "ä.com"] {
            assert_eq!(Name::suffix(text), None, "{text:?}");
        }
    }
}
