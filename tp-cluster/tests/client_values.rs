//! The chart's `client` values are the configuration's keys: what the one accepts, the other understands.
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::Value;
use tp_core::config::{Effect, Key, Layer, Source};

const VALUES: &str = include_str!("../chart/values.yaml");
const SCHEMA: &str = include_str!("../chart/values.schema.json");

/// Values with all comments of the `client` part that are values made into values.
fn everything() -> String {
    let client = VALUES.split_once("\nclient:\n").unwrap().1.split_once("\nclientRbac:").unwrap().0;
    let uncommented = client.lines().filter_map(|line| match line.trim_start().strip_prefix("# ") {
        Some(text) if text.trim_start().split(' ').next().is_some_and(|word| word.ends_with(':')) => {
            let indent = line.len() - line.trim_start().len();
            Some(format!("{}{text}", " ".repeat(indent)))
        }
        Some(_) => None,
        None => Some(line.to_owned()),
    });
    uncommented.map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(&line))).collect()
}

#[test]
fn every_key_of_the_values_is_one_that_clients_know() {
    let (_, problems) = Layer::lenient(Source::Manager, &everything());
    assert_eq!(problems, []);
}

#[test]
fn every_key_that_a_manager_may_set_is_in_the_values_and_their_schema() {
    let values: Value = serde_saphyr::from_str(&everything()).unwrap();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let client = &schema["properties"]["client"]["properties"];
    for key in Key::ALL.iter().filter(|key| key.spec().effect == Effect::Now) {
        let (group, name) = key.path().split_once('.').unwrap();
        assert!(client[group]["properties"].get(name).is_some(), "{} is not in the schema", key.path());
        // of the two levels one is enough to show
        let shown = values[group].get(name).is_some() || *key == Key::UserDaemonLevel;
        assert!(shown, "{} is not in values.yaml", key.path());
    }
}

/// What is commented out is told with its default, so that uncommenting changes nothing.
#[test]
fn the_values_are_the_defaults() {
    let values: Value = serde_saphyr::from_str(&everything()).unwrap();
    for key in Key::ALL.iter().filter(|key| key.spec().effect == Effect::Now) {
        let (group, name) = key.path().split_once('.').unwrap();
        let default: Value = serde_saphyr::from_str(key.spec().default).unwrap();
        if let Some(value) = values[group].get(name) {
            assert_eq!(*value, default, "{}", key.path());
        }
    }
}
