//! YAML in and out, as plain JSON values.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Number, Value};

/// The documents of a YAML text that are not empty.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).context("reading YAML")?;
    Ok(all.into_iter().map(whole_numbers).filter(|document| !document.is_null()).collect())
}

/// 1e3 and 1000.0 are the integer 1000 to helm, which reads YAML by way of JSON.
fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => whole(&number).map_or(Value::Number(number), Value::from),
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, whole_numbers(value))).collect(),
        other => other,
    }
}

/// The number as an integer, if it is one.
#[expect(clippy::cast_possible_truncation, reason = "the guard leaves only what an i64 holds")]
pub(crate) fn whole(number: &Number) -> Option<i64> {
    let float = || number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15);
    number.as_i64().or_else(|| float().map(|float| float as i64))
}

/// A YAML text that holds one map, or nothing.
pub(crate) fn map(text: &str) -> Result<Map<String, Value>> {
    let mut all = documents(text)?;
    match (all.pop(), all.is_empty()) {
        (None, _) => Ok(Map::new()),
        (Some(Value::Object(map)), true) => Ok(map),
        _ => bail!("this is not one map of keys and values"),
    }
}

/// Block YAML without the last newline, keys sorted, lists not indented: what Helm's `toYaml` gives.
/// A text is written plainly only where no YAML reader, 1.1 or 1.2, takes it for something else.
pub(crate) fn emit(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out.truncate(out.trim_end_matches('\n').len());
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            for (at, (key, value)) in entries.into_iter().enumerate() {
                pad(at, indent, out);
                out.push_str(&scalar(key));
                out.push(':');
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        out.push('\n');
                        out.push_str(&" ".repeat(indent + 2));
                        block(value, indent + 2, out);
                    }
                    Value::Array(items) if !items.is_empty() => {
                        out.push('\n');
                        out.push_str(&" ".repeat(indent));
                        block(value, indent, out);
                    }
                    _ => {
                        out.push(' ');
                        block(value, indent, out);
                    }
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                pad(at, indent, out);
                out.push_str("- ");
                block(item, indent + 2, out);
            }
        }
        Value::Object(_) => out.push_str("{}\n"),
        Value::Array(_) => out.push_str("[]\n"),
        Value::String(text) => {
            out.push_str(&scalar(text));
            out.push('\n');
        }
        other => {
            out.push_str(&other.to_string());
            out.push('\n');
        }
    }
}

/// The first entry stands where its parent left off.
fn pad(at: usize, indent: usize, out: &mut String) {
    if at > 0 {
        out.push_str(&" ".repeat(indent));
    }
}

fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { Value::String(text.to_owned()).to_string() }
}

fn is_plain(text: &str) -> bool {
    // Every other word of the YAML 1.1 and 1.2 core schemas starts with a digit, a sign or a dot and a digit.
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let inside = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let number_like = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphabetic());
    let starts = match text.chars().next() {
        Some('.') => {
            !number_like(&text[1..]) && ![".inf", ".nan"].contains(&text.to_ascii_lowercase().as_str())
        }
        Some('0'..='9') => is_quantity(text),
        Some(c) => c.is_ascii_alphabetic() || c == '/',
        None => false,
    };
    starts && text.chars().all(inside) && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// `24h`, `4Mi`: digits and then letters that are no exponent and no base.
fn is_quantity(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    matches!(unit, "h" | "m" | "s" | "ms" | "Ki" | "Mi" | "Gi")
}

#[cfg(test)]
mod tests {
    use super::{documents, emit, map};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn emits_as_helm_does() {
        let value = json!({"b": [".com", "yes", "a: b"], "a": {"x": {}, "y": [], "z": [{"k": 1, "l": null}]}, "t": "24h"});
        insta::assert_snapshot!(emit(&value), @r#"
        a:
          x: {}
          "y": []
          z:
          - k: 1
            l: null
        b:
        - .com
        - "yes"
        - "a: b"
        t: 24h
        "#);
    }

    #[test]
    fn reads_one_map_or_says_what_it_is() {
        assert!(map("").unwrap().is_empty());
        assert!(map("# nothing\n").unwrap().is_empty());
        assert!(map("- 1\n").is_err());
        assert!(map("a: 1\n---\nb: 2\n").is_err());
        // Helm reads YAML 1.1, where these are truth values.
        assert_eq!(
            map("a: yes\nb: Off\nc: 'yes'\n").unwrap(),
            *json!({"a": true, "b": false, "c": "yes"}).as_object().unwrap()
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[0-9a-zA-Z_./:~ -]{0,6}".prop_map(Value::from),
            proptest::sample::select(vec![
                "yes", "NO", "~", "1e3", "0x1f", "0o7", "1_000", "12:30:45", "<<", "=", ".5", "-", "1.",
                "null"
            ])
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z./0-9 ]{0,5}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_emitted_reads_back_the_same(value in value()) {
            let text = emit(&json!({"root": value}));
            prop_assert_eq!(&documents(&text).unwrap()[0]["root"], &value, "{}", text);
        }
    }
}
