//! The JSON schema of the configuration file, out of the table of keys.

use serde_json::{Map, Value as Json, json};

use super::key::{Effect, Key};
use super::kind::{Kind, LEVELS};

const DURATION: &str =
    r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)$|^(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$";
const SUBNET_V4: &str = r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/([0-9]|[12][0-9]|3[0-2])$";
const SUBNET_V6: &str = r"^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8])$";
const NAMESPACE: &str = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

/// For editors and for whoever checks files before tp does.
pub fn schema() -> Json {
    let mut top = Map::new();
    for key in Key::ALL {
        let spec = key.spec();
        insert(&mut top, spec.path, property(*key, None));
        // those of the kubeconfig are not for files, though files may have them
        for alias in spec.aliases.iter().filter(|alias| !alias.contains('-')) {
            insert(&mut top, alias, property(*key, Some(spec.path)));
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of tp (config.yml)",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": top,
        "$defs": {
            "duration": {
                "description": "As Go writes them: 1ms, 30s, 1m30s; a number is seconds.",
                "anyOf": [{"type": "string", "pattern": DURATION}, {"type": "number", "minimum": 0}],
            },
            "subnetV4": {"type": "string", "pattern": SUBNET_V4},
            "subnetV6": {"type": "string", "pattern": SUBNET_V6},
            "subnet": {"anyOf": [{"$ref": "#/$defs/subnetV4"}, {"$ref": "#/$defs/subnetV6"}]},
            "namespace": {"type": "string", "pattern": NAMESPACE},
        },
    })
}

/// At its place below groups.
fn insert(top: &mut Map<String, Json>, path: &str, property: Json) {
    let Some((group, name)) = path.split_once('.') else {
        top.insert(path.to_owned(), property);
        return;
    };
    let entry = top.entry(group).or_insert_with(
        || json!({"type": ["object", "null"], "additionalProperties": false, "properties": {}}),
    );
    if let Some(properties) = entry.get_mut("properties").and_then(Json::as_object_mut) {
        insert(properties, name, property);
    }
}

fn property(key: Key, alias_of: Option<&str>) -> Json {
    let spec = key.spec();
    let mut about = match alias_of {
        Some(path) => format!("Another name of {path}."),
        None => spec.about.to_owned(),
    };
    match spec.effect {
        Effect::NotYet => about.push_str(" Has no effect yet."),
        Effect::NotNeeded => about.push_str(" Has no effect."),
        Effect::Now | Effect::BeforeManager => {}
    }
    let mut property = Map::new();
    property.insert("description".to_owned(), about.into());
    if let Json::Object(kind) = kind(spec.kind) {
        property.extend(kind);
    }
    Json::Object(property)
}

fn kind(kind: Kind) -> Json {
    let or_null = |schema: Json| json!({"anyOf": [schema, {"type": "null"}]});
    let list = |items: Json| json!({"type": ["array", "null"], "items": items});
    let text = json!({"type": "string", "minLength": 1});
    match kind {
        Kind::Bool => json!({"type": ["boolean", "null"]}),
        Kind::Duration => or_null(json!({"$ref": "#/$defs/duration"})),
        Kind::Port => json!({"type": ["integer", "null"], "minimum": 1, "maximum": 65535}),
        Kind::Level => {
            let more = ["warning", "fatal", "panic"];
            let all: Vec<Json> =
                LEVELS.iter().chain(&more).map(|level| json!(level)).chain([Json::Null]).collect();
            json!({"enum": all})
        }
        Kind::Name => or_null(json!({"$ref": "#/$defs/namespace"})),
        Kind::NameList => list(json!({"$ref": "#/$defs/namespace"})),
        Kind::OneOf(allowed) => {
            let all: Vec<Json> = allowed.iter().map(|one| json!(one)).chain([Json::Null]).collect();
            json!({"enum": all})
        }
        Kind::SubnetV4 => or_null(json!({"$ref": "#/$defs/subnetV4"})),
        Kind::SubnetV6 => or_null(json!({"$ref": "#/$defs/subnetV6"})),
        Kind::Subnets => list(json!({"$ref": "#/$defs/subnet"})),
        Kind::ProxyVia | Kind::Suffixes | Kind::Names => list(text),
        Kind::Mappings => list(json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["name", "aliasFor"],
            "properties": {"name": text, "aliasFor": text},
        })),
        Kind::Anything => json!({}),
    }
}
