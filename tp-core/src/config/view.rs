//! The settings for people: what holds, and where it comes from.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::key::{Effect, Key};
use super::layer::Source;
use super::settings::Config;

/// One value and its source. A key whose list adds up has one row for each source.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Row {
    pub key: String,
    pub value: Json,
    pub source: String,
    /// What there is to know about a value that somebody set and that does nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Config {
    /// Every key of tp's, and of Telepresence's others those that somebody set.
    pub fn view(&self) -> Vec<Row> {
        let of_key = |key: &Key| {
            let spec = key.spec();
            self.values.of(*key).iter().filter_map(move |(value, origin)| {
                let is_default = origin.source == Source::Default;
                if is_default && spec.effect == Effect::NotNeeded {
                    return None;
                }
                let note = match spec.effect {
                    Effect::NotNeeded => format!("has no effect: {}", spec.about),
                    Effect::NotYet if !is_default => "has no effect yet".to_owned(),
                    _ => String::new(),
                };
                let source = origin.to_string();
                Some(Row { key: spec.path.to_owned(), value: value.to_json(), source, note })
            })
        };
        Key::ALL.iter().flat_map(of_key).collect()
    }
}

/// A file that sets what the rows say, with the source of each value after it if that is wanted.
pub fn text(rows: &[Row], sources: bool) -> String {
    let mut out = String::new();
    let mut open = "";
    let mut at = 0;
    while let Some(row) = rows.get(at) {
        // rows of one key follow each other
        let same = rows[at..].iter().take_while(|other| other.key == row.key).count();
        let (group, name) = row.key.split_once('.').unwrap_or(("", &row.key));
        if group != open && !group.is_empty() {
            let _ = writeln!(out, "{group}:");
        }
        open = group;
        let indent = if group.is_empty() { "" } else { "  " };
        key(&mut out, indent, name, &rows[at..at + same], sources);
        at += same;
    }
    out
}

fn key(out: &mut String, indent: &str, name: &str, rows: &[Row], sources: bool) {
    let comment = |row: &Row| {
        let mut said = Vec::new();
        if sources {
            said.push(row.source.as_str());
        }
        if !row.note.is_empty() {
            said.push(row.note.as_str());
        }
        if said.is_empty() { String::new() } else { format!("  # {}", said.join("; ")) }
    };
    let items = |row: &Row| row.value.as_array().filter(|items| !items.is_empty()).cloned();
    if let [one] = rows
        && items(one).is_none()
    {
        let _ = writeln!(out, "{indent}{name}: {}{}", one.value, comment(one));
        return;
    }
    let all_from_one = rows.len() == 1;
    let head = if all_from_one { comment(&rows[0]) } else { String::new() };
    let _ = writeln!(out, "{indent}{name}:{head}");
    for row in rows {
        for item in items(row).unwrap_or_default() {
            let comment = if all_from_one { String::new() } else { comment(row) };
            let _ = writeln!(out, "{indent}  - {item}{comment}");
        }
    }
}

/// The same as one document: `{"routing": {"alsoProxySubnets": [..]}}`; with sources, each value is
/// `{"value": .., "source": ..}`, or a list of them where lists add up.
pub fn json(rows: &[Row], sources: bool) -> Json {
    let mut document = Map::new();
    for row in rows {
        let value = if sources { with_source(row) } else { row.value.clone() };
        let (group, name) = match row.key.split_once('.') {
            Some((group, name)) => (group, name),
            None => ("", row.key.as_str()),
        };
        let target = if group.is_empty() {
            &mut document
        } else {
            let entry = document.entry(group).or_insert_with(|| Json::Object(Map::new()));
            match entry {
                Json::Object(map) => map,
                _ => continue,
            }
        };
        let slot = target.entry(name).or_insert(Json::Null);
        *slot = match (slot.take(), value) {
            (Json::Null, value) => value,
            (Json::Array(mut all), Json::Array(more)) => {
                all.extend(more);
                Json::Array(all)
            }
            (Json::Array(mut all), one) => {
                all.push(one);
                Json::Array(all)
            }
            (first, second) => Json::Array(vec![first, second]),
        };
    }
    Json::Object(document)
}

fn with_source(row: &Row) -> Json {
    let mut map = Map::new();
    map.insert("value".to_owned(), row.value.clone());
    map.insert("source".to_owned(), row.source.clone().into());
    if !row.note.is_empty() {
        map.insert("note".to_owned(), row.note.clone().into());
    }
    Json::Object(map)
}
