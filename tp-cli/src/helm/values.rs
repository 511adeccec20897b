//! The user's values: files, `--set`, what an earlier release was given, and the chart's defaults, in helm's order.

mod schema;
mod set;

use super::yaml;
use crate::report::Advice;
use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Map, Value};
use std::{io::Read, path::PathBuf};
use tp_core::config::{Layer, Source};

pub(crate) use schema::check;

/// Keys and what they are set to.
pub(crate) type Values = Map<String, Value>;

/// Where values come from on the command line.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Values")]
pub(crate) struct ValueFlags {
    /// YAML file of values, `-` for stdin; repeatable, later files win
    #[arg(short = 'f', long = "values", value_name = "FILE")]
    pub values: Vec<PathBuf>,
    /// One value or several, as in image.registry=x,podCIDRs={10.0.0.0/8}; repeatable, wins over files
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// As --set, but the value is a text whatever it looks like
    #[arg(long, value_name = "KEY=VALUE")]
    pub set_string: Vec<String>,
}

impl ValueFlags {
    /// Are there none at all?
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.set.is_empty() && self.set_string.is_empty()
    }

    /// What the flags say, without any default.
    pub(crate) fn read(&self) -> Result<Values> {
        let mut values = Values::new();
        for path in &self.values {
            let what = || format!("reading values from {}", path.display());
            let text = if path.as_os_str() == "-" {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map(|_| text)
            } else {
                std::fs::read_to_string(path)
            };
            let text = text.with_context(what).hint("give the path of a YAML file, or - for stdin")?;
            let more = yaml::map(&text)
                .with_context(what)
                .hint("a values file is YAML with one key per line, see `tp helm values`")?;
            merge(&mut values, more);
        }
        let settings = self.set.iter().map(|text| ("--set", text, false));
        for (flag, text, as_text) in
            settings.chain(self.set_string.iter().map(|text| ("--set-string", text, true)))
        {
            set::apply(&mut values, text, as_text)
                .with_context(|| format!("reading {flag} {text}"))
                .hint(format!("write {flag} key=value, {flag} a.b=value, {flag} list={{one,two}}; \\ before a literal , or ."))?;
        }
        Ok(values)
    }
}

/// Lays `over` on `values`: maps are joined, all else replaced. A null stays, to take away a default later.
pub(crate) fn merge(values: &mut Values, over: Values) {
    for (key, new) in over {
        match (values.get_mut(&key), new) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, new) => {
                values.insert(key, new);
            }
        }
    }
}

/// What tp's clients will make nothing of among the values `client`, which are handed to them as they are.
pub(crate) fn not_for_clients(values: &Values) -> Vec<String> {
    let Some(client) = values.get("client") else { return Vec::new() };
    // JSON is YAML
    let (_, problems) = Layer::lenient(Source::Manager, &client.to_string());
    problems.into_iter().map(|problem| format!("values of `client`: {}", problem.what)).collect()
}

/// What templates see: the chart's defaults under the user's values, where a null takes the default away.
pub(crate) fn coalesce(values: &Values, defaults: &Values) -> Values {
    let mut all = Values::new();
    for (key, default) in defaults {
        match (values.get(key), default) {
            (None, default) => all.insert(key.clone(), default.clone()),
            (Some(Value::Null), _) => None,
            (Some(Value::Object(value)), Value::Object(default)) => {
                all.insert(key.clone(), Value::Object(coalesce(value, default)))
            }
            (Some(value), _) => all.insert(key.clone(), value.clone()),
        };
    }
    for (key, value) in values.iter().filter(|(key, value)| !defaults.contains_key(*key) && !value.is_null())
    {
        all.insert(key.clone(), value.clone());
    }
    all
}

#[cfg(test)]
mod tests;
