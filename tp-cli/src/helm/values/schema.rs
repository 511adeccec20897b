//! Values against `values.schema.json`, the part of JSON Schema that this file uses. A keyword outside of that part
//! is an error: the schema must mean the same to helm and to us.

use serde_json::{Map, Value};

/// What is wrong with the values, one line each; nothing when they fit.
pub(crate) fn check(values: &Value, schema: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    value("", values, schema, &mut wrong);
    wrong
}

fn value(path: &str, value: &Value, schema: &Value, wrong: &mut Vec<String>) {
    let Value::Object(rules) = schema else {
        wrong.push(format!("the schema of {} is no map", shown(path)));
        return;
    };
    for (keyword, rule) in rules {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "required" | "additionalProperties" => {}
            "type" => type_of(path, value, rule, wrong),
            "enum" => one_of(path, value, rule, wrong),
            "minimum" | "maximum" => limit(path, value, keyword, rule, wrong),
            "minLength" => {
                if let (Value::String(text), Some(least)) = (value, rule.as_u64())
                    && (text.chars().count() as u64) < least
                {
                    wrong.push(format!("{} must not be empty", shown(path)));
                }
            }
            "items" => {
                for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                    self::value(&format!("{path}[{at}]"), item, rule, wrong);
                }
            }
            "properties" => {
                if let (Value::Object(map), Value::Object(properties)) = (value, rule) {
                    keys(path, map, properties, rules, wrong);
                }
            }
            other => {
                wrong.push(format!("the schema of {} uses `{other}`, which tp does not know", shown(path)));
            }
        }
    }
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "the whole" } else { path }
}

fn keys(
    path: &str,
    map: &Map<String, Value>,
    properties: &Map<String, Value>,
    rules: &Map<String, Value>,
    wrong: &mut Vec<String>,
) {
    let closed = rules.get("additionalProperties") == Some(&Value::Bool(false));
    for (key, inner) in map {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match properties.get(key) {
            Some(schema) => value(&path, inner, schema, wrong),
            None if closed => {
                let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                wrong.push(format!("{path} is not a value of this chart ({} are)", known.join(", ")));
            }
            None => {}
        }
    }
    for key in rules.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        if !map.contains_key(key) {
            wrong.push(format!("{}.{key} is missing", shown(path)));
        }
    }
}

fn type_of(path: &str, value: &Value, rule: &Value, wrong: &mut Vec<String>) {
    let allowed: Vec<&str> = match rule {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let fits = allowed.iter().any(|name| match *name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => whole,
        "number" => value.is_number(),
        _ => false,
    });
    if !fits {
        wrong.push(format!("{} must be of type {}, not {value}", shown(path), allowed.join(" or ")));
    }
}

fn one_of(path: &str, value: &Value, rule: &Value, wrong: &mut Vec<String>) {
    let allowed = rule.as_array().cloned().unwrap_or_default();
    if !allowed.contains(value) {
        let allowed: Vec<String> =
            allowed.iter().map(|v| v.as_str().map_or(v.to_string(), str::to_owned)).collect();
        wrong.push(format!("{} must be one of {}, not {value}", shown(path), allowed.join(", ")));
    }
}

fn limit(path: &str, value: &Value, keyword: &str, rule: &Value, wrong: &mut Vec<String>) {
    let (Some(number), Some(limit)) = (value.as_f64(), rule.as_f64()) else { return };
    let (outside, word) =
        if keyword == "minimum" { (number < limit, "at least") } else { (number > limit, "at most") };
    if outside {
        wrong.push(format!("{} must be {word} {limit}, not {value}", shown(path)));
    }
}
