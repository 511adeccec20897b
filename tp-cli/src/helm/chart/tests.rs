//! The chart as `tp` holds and renders it.

use super::{Chart, FILES, Occasion};
use crate::{helm::values::Values, report};
use serde_json::{Value, json};
use std::{fs, path::Path};

fn render(values: &Value) -> Result<String, String> {
    let values: Values = values.as_object().unwrap().clone();
    let chart = Chart::load().unwrap();
    let rendered = chart.render(&values, Occasion { namespace: "ambassador", revision: 1 });
    rendered.map(|rendered| rendered.manifest).map_err(|error| report::text(&error))
}

#[test]
fn every_file_of_the_chart_is_built_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tp-cluster/chart");
    let mut found = Vec::new();
    for (folder, prefix) in [(root.clone(), ""), (root.join("templates"), "templates/")] {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                found.push(format!("{prefix}{}", entry.file_name().to_str().unwrap()));
            }
        }
    }
    // What helm itself leaves out.
    found.retain(|name| name != ".helmignore" && name != "README.md");
    found.sort();
    let mut built_in: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
    built_in.sort_unstable();
    assert_eq!(found, built_in);
}

#[test]
fn chart_and_tp_have_one_version() {
    let chart = Chart::load().unwrap();
    assert_eq!(chart.version(), env!("CARGO_PKG_VERSION"));
    assert_eq!(chart.text("appVersion"), env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_objects_of_the_default_values() {
    insta::assert_snapshot!(render(&json!({})).unwrap());
}

#[test]
fn the_sink_for_tp_bench_can_be_forbidden() {
    let forbids = |values| render(&values).unwrap().contains("name: TP_NO_BENCH_SINK");
    assert!(!forbids(json!({})));
    assert!(forbids(json!({"benchSink": false})));
}

#[test]
fn values_that_do_not_fit_are_named() {
    let cases = [
        json!({"apiport": 8081}),
        json!({"apiPort": "8081", "image": {"pullPolicy": "Sometimes"}}),
        json!({"podCIDRStrategy": "guess"}),
        json!({"managerRbac": {"namespaced": true}}),
        json!({"clientRbac": {"create": true}}),
    ];
    let said: Vec<String> =
        cases.iter().map(|values| format!("{values}\n{}", render(values).unwrap_err())).collect();
    insta::assert_snapshot!(said.join("\n"));
}

/// The rights of the manager, for each way of learning networks.
#[test]
fn rights_follow_the_strategy() {
    let mut table = String::new();
    for values in [
        json!({}),
        json!({"podCIDRStrategy": "nodePodCIDRs"}),
        json!({"podCIDRStrategy": "coverPodIPs"}),
        json!({"podCIDRStrategy": "environment", "podCIDRs": ["10.0.0.0/8"]}),
        json!({"podCIDRStrategy": "coverPodIPs", "managerRbac": {"namespaced": true, "namespaces": ["a", "b"]}}),
        json!({"managerRbac": {"create": false}}),
        json!({"clientRbac": {"create": true, "subjects": [{"kind": "User", "name": "jane"}]}}),
    ] {
        table.push_str(&format!("{values}\n"));
        for object in crate::helm::manifest::read(&render(&values).unwrap()).unwrap() {
            for rule in object.body["rules"].as_array().into_iter().flatten() {
                let names =
                    rule.get("resourceNames").map_or(String::new(), |names| format!(" named {names}"));
                table.push_str(&format!(
                    "  {}: {} {}{names}\n",
                    object.place.title(),
                    rule["verbs"],
                    rule["resources"]
                ));
            }
        }
    }
    insta::assert_snapshot!(table);
}
