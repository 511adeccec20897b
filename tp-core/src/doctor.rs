//! What `tp doctor` has found out: one check after the other, and what they mean for a connect.

mod dry_run;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use dry_run::{guessed, routes};

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Check {
    pub stage: Stage,
    pub name: String,
    pub verdict: Verdict,
    /// What was found. More than one line only where there is more than one thing to tell.
    pub says: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

/// In the order in which a connect comes by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The programs of tp and the right to use them.
    Tp,
    /// The kernel, devices and names of this machine.
    Machine,
    Settings,
    Cluster,
    Manager,
    Routes,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// Worth knowing; it stops nothing.
    Note,
    /// A connect would fail of it.
    Fail,
}

impl Check {
    pub fn ok(stage: Stage, name: &str, says: impl Into<String>) -> Self {
        Self::new(stage, name, Verdict::Ok, says.into(), String::new())
    }

    pub fn note(stage: Stage, name: &str, says: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(stage, name, Verdict::Note, says.into(), hint.into())
    }

    pub fn fail(stage: Stage, name: &str, says: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(stage, name, Verdict::Fail, says.into(), hint.into())
    }

    fn new(stage: Stage, name: &str, verdict: Verdict, says: String, hint: String) -> Self {
        Self { stage, name: name.to_owned(), verdict, says, hint }
    }
}

/// What one run of `tp-daemon` contributes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// The connect that was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    pub checks: Vec<Check>,
}

/// All checks of one run, in order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// Whether nothing was found that stops a connect.
    pub ok: bool,
    /// What the connect would do.
    pub summary: String,
    pub checks: Vec<Check>,
}

impl Report {
    /// `command` is the connect that was asked about.
    pub fn new(mut checks: Vec<Check>, command: &str) -> Self {
        checks.sort_by_key(|check| check.stage);
        let of =
            |verdict| -> Vec<&Check> { checks.iter().filter(|check| check.verdict == verdict).collect() };
        let (failed, notes) = (of(Verdict::Fail), of(Verdict::Note));
        let summary = if failed.is_empty() {
            let notes = match notes.len() {
                0 => String::new(),
                1 => "; there is 1 note".to_owned(),
                number => format!("; there are {number} notes"),
            };
            format!("`{command}` would connect{notes}")
        } else {
            let names: Vec<&str> = failed.iter().map(|check| check.name.as_str()).collect();
            format!("`{command}` would fail: {}", names.join(", "))
        };
        Self { ok: failed.is_empty(), summary, checks }
    }

    /// For people: one line for each check, what else there is to it below.
    pub fn text(&self) -> String {
        let width = |part: fn(&Check) -> usize| self.checks.iter().map(part).max().unwrap_or(0);
        let (stage, name) = (width(|check| check.stage.to_string().len()), width(|check| check.name.len()));
        let indent = " ".repeat(6 + stage + 2 + name + 2);
        let mut text = String::new();
        for check in &self.checks {
            let says = check.says.replace('\n', &format!("\n{indent}"));
            text.push_str(&format!(
                "{:<4}  {:<stage$}  {:<name$}  {says}\n",
                check.verdict.to_string(),
                check.stage.to_string(),
                check.name
            ));
            if !check.hint.is_empty() {
                let hint = check.hint.replace('\n', &format!("\n{indent}      "));
                text.push_str(&format!("{indent}hint: {hint}\n"));
            }
        }
        format!("{text}\n{}\n", self.summary)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tp => "tp",
            Self::Machine => "machine",
            Self::Settings => "settings",
            Self::Cluster => "cluster",
            Self::Manager => "manager",
            Self::Routes => "routes",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Fail => "FAIL",
        })
    }
}

#[cfg(test)]
mod tests;
