//! An error for people: what we were doing, what is wrong, and what to do next.

use std::fmt;

/// What the user is shown when a command cannot be carried out.
#[derive(Debug)]
pub struct Failure {
    pub error: anyhow::Error,
    /// The next thing to try, as one sentence or a command.
    pub hint: String,
}

impl Failure {
    pub fn new(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> Self {
        Self { error: error.into(), hint: hint.into() }
    }

    /// Outermost cause first, on one line.
    pub fn message(&self) -> String {
        format!("{:#}", self.error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl std::error::Error for Failure {}

/// Adds what we were doing and what to do next to any error.
pub trait OrHint<T> {
    fn or_hint(self, doing: impl fmt::Display, hint: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrHint<T> for Result<T, E> {
    fn or_hint(self, doing: impl fmt::Display, hint: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(error.into().context(doing.to_string()), hint))
    }
}
