//! `--set`, merging and the schema.

use super::{Values, check, coalesce, merge, not_for_clients, set};
use proptest::prelude::*;
use serde_json::{Value, json};

fn map(value: &Value) -> Values {
    value.as_object().unwrap().clone()
}

fn set_all(text: &str) -> Result<Value, String> {
    let mut values = Values::new();
    set::apply(&mut values, text, false).map_err(|error| error.to_string())?;
    Ok(Value::Object(values))
}

#[test]
fn what_clients_would_not_understand_is_told() {
    let values = json!({"client": {
        "connectionTTL": "24h",
        "routing": {"alsoProxySubnet": ["10.0.0.0/8"], "neverProxySubnets": ["10.1.0.0"]},
        "dns": {"lookupTimeout": 2},
    }});
    insta::assert_snapshot!(not_for_clients(&map(&values)).join("\n"), @r#"
    values of `client`: `routing.alsoProxySubnet` is not a key of the configuration; the nearest is `routing.alsoProxySubnets`
    values of `client`: `routing.neverProxySubnets[0]` must be a subnet like 10.0.0.0/8 or fd00::/8, and is the text "10.1.0.0"
    "#);
    assert_eq!(not_for_clients(&map(&json!({"apiPort": 1}))), [""; 0]);
    assert_eq!(not_for_clients(&map(&json!({"client": {"timeouts": null}}))), [""; 0]);
}

#[test]
fn set_means_what_helm_means() {
    let cases = [
        ("a=1", json!({"a": 1})),
        ("a=", json!({"a": ""})),
        ("a=true,b=null,c=x y", json!({"a": true, "b": null, "c": "x y"})),
        ("a.b.c=0,a.b.d=007", json!({"a": {"b": {"c": 0, "d": "007"}}})),
        ("a={x,1,true}", json!({"a": ["x", 1, true]})),
        ("a={},b=1", json!({"a": [], "b": 1})),
        ("a[1].b=x,a[0].b=y", json!({"a": [{"b": "y"}, {"b": "x"}]})),
        ("a[0][1]=x", json!({"a": [[null, "x"]]})),
        ("a\\.b=c\\,d", json!({"a.b": "c,d"})),
        ("a=b=c", json!({"a": "b=c"})),
    ];
    for (text, expected) in cases {
        assert_eq!(set_all(text), Ok(expected), "{text}");
    }
    let mut values = Values::new();
    set::apply(&mut values, "a=1,b=true", true).unwrap();
    assert_eq!(Value::Object(values), json!({"a": "1", "b": "true"}));
}

#[test]
fn set_refuses_what_it_cannot_read() {
    let said: Vec<String> =
        ["a", "=1", "a,b=1", "a..b=1", "a[x]=1", "a[99999]=1", "a[0=1", "[0]=1", "a={1", "a={1}x", "a[0]b=1"]
            .iter()
            .map(|text| format!("{text}: {}", set_all(text).expect_err(text)))
            .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    a: `=` is missing after `a`
    =1: a key is empty
    a,b=1: `=` is missing after `a`
    a..b=1: a key is empty
    a[x]=1: `x` is not an index up to 1000
    a[99999]=1: `99999` is not an index up to 1000
    a[0=1: `]` is missing
    [0]=1: a list needs a key before its [
    a={1: `}` is missing
    a={1}x: a comma is missing before `x`
    a[0]b=1: a dot is missing after ]
    "#);
}

#[test]
fn a_null_takes_a_default_away() {
    let defaults = map(&json!({"a": {"x": 1, "y": 2}, "b": [1], "c": "d"}));
    let mut values = map(&json!({"a": {"x": 5}}));
    merge(&mut values, map(&json!({"a": {"y": null}, "b": [2], "e": {"f": 1}})));
    assert_eq!(
        Value::Object(coalesce(&values, &defaults)),
        json!({"a": {"x": 5}, "b": [2], "c": "d", "e": {"f": 1}})
    );
}

#[test]
fn the_schema_says_where_and_what() {
    let schema = json!({"type": "object", "additionalProperties": false, "properties": {
        "port": {"type": "integer", "minimum": 1024, "maximum": 65535},
        "level": {"enum": ["info", "debug"]},
        "list": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 1}}}},
        "odd": {"pattern": "x"}}});
    let values = json!({"port": 80, "level": "loud", "list": [{"name": ""}, {}, 3], "typo": 1, "odd": "x"});
    insta::assert_snapshot!(check(&values, &schema).join("\n"), @r#"
    level must be one of info, debug, not "loud"
    list[0].name must not be empty
    list[1].name is missing
    list[2] must be of type object, not 3
    the schema of odd uses `pattern`, which tp does not know
    port must be at least 1024, not 80
    typo is not a value of this chart (level, list, odd, port are)
    "#);
    assert!(check(&json!({"port": 8081, "level": "info", "list": [{"name": "x"}]}), &schema).is_empty());
}

proptest! {
    #[test]
    fn set_never_panics(text in "[a-c.=,{}\\[\\]0-9\\\\]{0,20}", other in any::<String>()) {
        let _ = set_all(&text);
        let _ = set_all(&other);
    }

    #[test]
    fn nothing_laid_over_defaults_is_the_defaults(keys in proptest::collection::btree_map("[a-z]{1,3}", any::<i32>(), 0..5)) {
        let defaults: Values = keys.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
        prop_assert_eq!(coalesce(&Values::new(), &defaults), defaults);
    }
}
