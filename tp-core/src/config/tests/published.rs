//! The published schema and the table in the documentation say what the code does.

use serde_json::Value as Json;

use super::super::{Config, Effect, Key, Layer, Source, schema, text};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.schema.json");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
/// Writes the files in place of comparing them.
const WRITE: &str = "TP_WRITE_DOCS";

#[test]
fn the_published_schema_is_up_to_date() {
    let schema = format!("{:#}\n", schema());
    compare(SCHEMA, &schema, |_| schema.clone());
}

#[test]
fn the_table_of_keys_is_up_to_date() {
    let table = table();
    let (begin, end) = ("<!-- keys: made from tp-core/src/config/key.rs -->\n", "<!-- end of keys -->");
    let with_table = |document: &str| {
        let (before, rest) = document.split_once(begin).expect("the mark before the table");
        let (_, after) = rest.split_once(end).expect("the mark after the table");
        format!("{before}{begin}{table}{end}{after}")
    };
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    compare(DOCUMENT, &with_table(&document), with_table);
}

fn compare(path: &str, wanted: &str, make: impl Fn(&str) -> String) {
    let found = std::fs::read_to_string(path).unwrap_or_default();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path, make(&found)).unwrap();
        return;
    }
    assert!(found == wanted, "{path} is out of date: run the test with {WRITE}=1");
}

fn table() -> String {
    let mut rows = "| key | takes | default | effect |\n|---|---|---|---|\n".to_owned();
    for key in Key::ALL {
        let spec = key.spec();
        let or: Vec<String> = spec.aliases.iter().map(|alias| format!("`{alias}`")).collect();
        let or = if or.is_empty() { String::new() } else { format!(" (or {})", or.join(", ")) };
        let default = if spec.default == "null" { String::new() } else { format!("`{}`", spec.default) };
        let effect = match spec.effect {
            Effect::Now => String::new(),
            Effect::BeforeManager => "Not from the manager, which is asked later. ".to_owned(),
            Effect::NotYet => "**No effect yet.** ".to_owned(),
            Effect::NotNeeded => "**No effect.** ".to_owned(),
        };
        let takes = spec.kind.described();
        rows += &format!("| `{}`{or} | {takes} | {default} | {effect}{} |\n", spec.path, spec.about);
    }
    rows
}

/// Right files are right by the schema, and wrong ones wrong, as far as a schema can tell.
#[test]
fn the_schema_agrees_with_the_parser() {
    let schema = schema();
    let everything = text(&Config::default().view(), true);
    let right = [
        "",
        everything.as_str(),
        "routing:\n",
        "routing: {alsoProxy: [10.0.0.0/8, 'fd00::/8', '::/0'], recursionBlockDuration: 1ms}",
        "cluster: {virtualIPSubnet: 198.18.0.0/15, defaultManagerNamespace: null}",
        "timeouts: {endpointDial: 1m30s, roundtripLatency: 1.5, trafficManagerAPI: '8'}",
        "dns: {mappings: [{name: a, aliasFor: b}], excludes: [x], localIP: 1}",
        "logLevels: {rootDaemon: warning}",
        "images: {registry: x}",
        "intercept: {defaultPort: 80, appProtocolStrategy: http2, useFtp: false}",
    ];
    let wrong = [
        "color: 1",
        "routing: 1",
        "routing: {alsoProxy: 10.0.0.0/8}",
        "routing: {alsoProxy: [10.0.0.0]}",
        "routing: {neverProxySubnets: [10.0.0.0/33]}",
        "routing: {autoResolveConflicts: 1}",
        "routing: {virtualSubnet: 'fd00::/8'}",
        "timeouts: {endpointDial: soon}",
        "timeouts: {endpointDial: -1}",
        "dns: {mappings: [{name: a}]}",
        "dns: {mappings: [{name: a, aliasFor: b, c: d}]}",
        "logLevels: {rootDaemon: loud}",
        "intercept: {defaultPort: 0}",
        "intercept: {useFtp: 'yes'}",
        "cluster: {mappedNamespaces: [A]}",
    ];
    let cases = right.iter().map(|text| (true, *text)).chain(wrong.iter().map(|text| (false, *text)));
    for (is_right, text) in cases {
        assert_eq!(
            Layer::parse(Source::Manager, text).is_ok() || is_early(text),
            is_right,
            "the parser: {text}"
        );
        let instance: Json = serde_saphyr::from_str(text).unwrap();
        assert_eq!(fits(&instance, &schema, &schema), is_right, "the schema: {text}");
    }
}

/// Right in a file, but nothing that a manager may say.
fn is_early(text: &str) -> bool {
    Layer::parse(Source::File("/c".to_owned()), text).is_ok()
}

/// A validator for the part of JSON schema that ours uses; it refuses to judge by anything else.
fn fits(value: &Json, schema: &Json, root: &Json) -> bool {
    let Json::Object(rules) = schema else { panic!("{schema} is no schema") };
    rules.iter().all(|(rule, wanted)| match rule.as_str() {
        "$schema" | "title" | "description" | "$defs" => true,
        "$ref" => {
            let pointer = wanted.as_str().and_then(|text| text.strip_prefix('#')).unwrap();
            fits(value, root.pointer(pointer).unwrap(), root)
        }
        "type" => match wanted {
            Json::Array(any) => any.iter().any(|one| is_a(value, one)),
            one => is_a(value, one),
        },
        "enum" => wanted.as_array().unwrap().contains(value),
        "anyOf" => wanted.as_array().unwrap().iter().any(|one| fits(value, one, root)),
        "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap()),
        "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= wanted.as_u64().unwrap()),
        "pattern" => value.as_str().is_none_or(|text| regex(wanted.as_str().unwrap()).is_match(text)),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(item, wanted, root))),
        "required" => value.as_object().is_none_or(|map| {
            wanted.as_array().unwrap().iter().all(|key| map.contains_key(key.as_str().unwrap()))
        }),
        "additionalProperties" => value.as_object().is_none_or(|map| {
            assert_eq!(*wanted, Json::Bool(false));
            map.keys().all(|key| rules["properties"].get(key).is_some())
        }),
        "properties" => value.as_object().is_none_or(|map| {
            map.iter().all(|(key, value)| wanted.get(key).is_none_or(|schema| fits(value, schema, root)))
        }),
        other => panic!("a rule that the test does not know: {other}"),
    })
}

fn is_a(value: &Json, kind: &Json) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

fn regex(pattern: &str) -> regex::Regex {
    regex::Regex::new(pattern).unwrap()
}
