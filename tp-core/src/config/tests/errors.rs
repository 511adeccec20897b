//! What is said about a configuration that is wrong.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::super::{ConfigError, Key, Layer, Source};
use super::{KUBECONFIG, kubeconfig};

fn error(yaml: &str) -> String {
    said(&Layer::parse(Source::File("/home/a/.config/tp/config.yml".to_owned()), yaml).unwrap_err())
}

fn said(error: &ConfigError) -> String {
    let hint = error.hint();
    if hint.is_empty() { error.to_string() } else { format!("{error}\n\nhint: {hint}") }
}

#[test]
fn every_error_has_a_text() {
    let cases = [
        ("a slip in a key", "routing:\n  # comment\n  alsoProxySubnet:\n  - 10.0.0.0/8\n"),
        ("a key in the wrong group", "dns:\n  neverProxySubnets: []\n"),
        ("a key that nothing resembles", "color: blue\n"),
        ("a group that nobody knows", "routeing: {}\n"),
        ("no boolean", "routing:\n  autoResolveConflicts: maybe\n"),
        ("no duration", "timeouts:\n  endpointDial: soon\n"),
        ("a negative duration", "routing:\n  recursionBlockDuration: -1ms\n"),
        ("no list", "routing: {alsoProxy: 10.0.0.0/8}\n"),
        ("an address in place of a subnet", "routing:\n  neverProxySubnets:\n  - 10.0.0.0/8\n  - 10.1.2.3\n"),
        ("no subnet", "routing:\n  allowConflictingSubnets: [10.0.0.0/33]\n"),
        ("a number in place of a subnet", "routing:\n  alsoProxy: [10]\n"),
        ("the other family", "cluster:\n  virtualIPSubnet: fd00::/64\n"),
        ("the other family for IPv6", "routing:\n  virtualSubnetV6: 246.0.0.0/8\n"),
        ("no proxy-via", "routing:\n  proxyVia: [pod=echo]\n"),
        ("a port that is none", "intercept:\n  defaultPort: 70000\n"),
        ("one of", "intercept:\n  appProtocolStrategy: guess\n"),
        ("no level", "logLevels:\n  rootDaemon: loud\n"),
        ("no namespace", "cluster:\n  defaultManagerNamespace: My_Namespace\n"),
        ("a number as a name", "cluster:\n  mappedNamespaces: [42]\n"),
        ("no suffix", "dns:\n  excludeSuffixes: ['a b']\n"),
        ("no name", "dns:\n  excludes: ['']\n"),
        ("a mapping without a part", "dns:\n  mappings:\n  - name: db\n"),
        ("a mapping with another part", "dns:\n  mappings:\n  - {name: db, alias: x, aliasFor: y}\n"),
        ("a mapping of a number", "dns:\n  mappings:\n  - {name: db, aliasFor: 10}\n"),
        ("a mapping to nothing", "dns:\n  mappings:\n  - {name: db, aliasFor: 'a b'}\n"),
        ("no group", "routing: 5\n"),
        ("no map at all", "- routing\n"),
        (
            "two names of one key",
            "routing:\n  virtualSubnet: 10.0.0.0/8\ncluster:\n  virtualIPSubnet: 10.0.0.0/8\n",
        ),
        ("several things", "a: 1\nrouting: {autoResolveConflict: true}\ndns: {lookupTimeout: []}\n"),
        ("an open bracket", "routing:\n  alsoProxy: [10.0.0.0/8\ndns: {}\n"),
        ("a tab", "routing:\n\talsoProxy: []\n"),
        ("a key twice", "dns:\n  lookupTimeout: 1s\n  lookupTimeout: 2s\n"),
        ("two documents", "dns: {}\n---\nrouting: {}\n"),
    ];
    let all: Vec<String> = cases.iter().map(|(what, yaml)| format!("== {what}\n{}\n", error(yaml))).collect();
    assert_snapshot!(all.join("\n"));
}

#[test]
fn an_error_in_the_kubeconfig_names_its_file_and_line() {
    let text = KUBECONFIG.replace("also-proxy: [10.7.0.0/16]", "also-proxi: [10.7.0.0/16]");
    assert_snapshot!(said(&kubeconfig(&text).layer(None, None).unwrap_err()), @r#"
    /home/a/.kube/config:18:9: `also-proxi` is not a key of the configuration; the nearest is `also-proxy`

    hint: write `also-proxy`, or remove it; docs/configuration.md lists the keys, `tp config schema` prints their JSON schema
    "#);
    assert_eq!(kubeconfig(&text).layer(Some("other"), None), Ok(None), "another cluster's is not looked at");
}

#[test]
fn the_managers_layer_keeps_what_is_right() {
    let text = "routing:\n  alsoProxySubnets: [10.1.0.0/16]\n  neverProxySubnets: [x]\n  new: 1\n\
                timeouts: {clusterConnect: 1s, endpointDial: 1s}\nconnectionTTL: 24h\n";
    let (layer, problems) = Layer::lenient(Source::Manager, text);
    let config = super::super::Config::merge([&layer]);
    assert_eq!(config.routing.also_proxy, ["10.1.0.0/16".parse().unwrap()]);
    assert_eq!(config.timeouts.endpoint_dial.as_secs(), 1);
    assert_eq!(config.timeouts.cluster_connect.as_secs(), 10);
    let notes: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_snapshot!(notes.join("\n"), @r#"
    the manager's client configuration, line 3: `routing.neverProxySubnets[0]` must be a subnet like 10.0.0.0/8 or fd00::/8, and is the text "x"
    the manager's client configuration, line 4: `routing.new` is not a key of the configuration
    the manager's client configuration, line 5: `timeouts.clusterConnect` is needed before the manager can be asked
    "#);
    let (nothing, problems) = Layer::lenient(Source::Manager, "{ not yaml");
    assert_eq!((nothing, problems.len()), (Layer::parse(Source::Manager, "").unwrap(), 1));
}

/// YAML made of our own keys, right and wrong values, at any depth.
fn yamlish() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        proptest::sample::select(Key::ALL).prop_map(|key| key
            .path()
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_owned()),
        proptest::sample::select(Key::ALL).prop_map(|key| key
            .path()
            .split('.')
            .next()
            .unwrap_or_default()
            .to_owned()),
        "[a-z0-9./:=-]{0,12}",
    ];
    let leaf = word.clone().prop_map(|word| format!("{word:?}"));
    leaf.prop_recursive(4, 40, 5, move |inner| {
        let entry = (word.clone(), inner.clone()).prop_map(|(key, value)| format!("{key:?}: {value}"));
        prop_oneof![
            proptest::collection::vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(", "))),
            proptest::collection::btree_set(entry, 0..5)
                .prop_map(|entries| format!("{{{}}}", entries.into_iter().collect::<Vec<_>>().join(", "))),
        ]
    })
}

proptest! {
    #[test]
    fn the_parser_is_total(yaml in yamlish()) {
        let source = Source::File("/c".to_owned());
        if let Err(error) = Layer::parse(source.clone(), &yaml) {
            prop_assert!(!error.problems.is_empty());
            let _ = said(&error);
        }
        let (layer, _) = Layer::lenient(source, &yaml);
        let _ = super::super::Config::merge([&layer]).view();
    }

    #[test]
    fn the_parser_is_total_for_any_text(text in any::<String>(), key in proptest::sample::select(Key::ALL)) {
        let _ = Layer::parse(Source::Manager, &text);
        let value = text.replace(['\n', '\r'], " ");
        let (group, name) = key.path().split_once('.').unwrap_or(("x", key.path()));
        let _ = Layer::parse(Source::Manager, &format!("{group}:\n  {name}: {value}\n"));
        let _ = kubeconfig(&text).layer(None, None);
    }
}
