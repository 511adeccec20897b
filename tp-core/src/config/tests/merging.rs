//! Which layer wins.

use std::path::Path;

use proptest::prelude::*;

use super::super::{Chosen, Config, Flags, Layer, Source, json, load, text};
use super::{KUBECONFIG, file, kubeconfig, shown};
use crate::cluster::ClusterView;

#[test]
fn the_layers_of_a_whole_connect() {
    let view = ClusterView {
        also_proxy: vec!["10.9.0.0/16".parse().unwrap()],
        exclude_suffixes: vec![".com".to_owned()],
        ..ClusterView::default()
    };
    let manager = "routing: {alsoProxySubnets: [10.9.0.0/16, 10.10.0.0/16], autoResolveConflicts: false}\n\
                   dns: {lookupTimeout: 1s}\nimages: {registry: x}\n";
    let (manager, problems) = Layer::lenient(Source::Manager, manager);
    assert_eq!(problems, []);
    let system = file("/etc/xdg/tp/config.yml", "dns: {lookupTimeout: 2s}\ntimeouts: {endpointDial: 7s}\n");
    let user = file("/home/a/.config/tp/config.yml", "timeouts:\n  endpointDial: 8s\n");
    let extension = kubeconfig(KUBECONFIG).layer(None, None).unwrap().unwrap();
    let flags = Layer::of_flags(&Flags {
        also_proxy: vec!["10.11.0.0/16".parse().unwrap(), "10.10.0.0/16".parse().unwrap()],
        ..Flags::default()
    });
    let config = Config::merge([&Layer::of_cluster(&view), &manager, &system, &user, &extension, &flags]);
    let of = |key: &str| {
        let rows = shown(&config, key);
        rows.into_iter().map(|(value, source)| format!("{value} {source}")).collect::<Vec<_>>()
    };
    assert_eq!(
        of("routing.alsoProxySubnets"),
        [
            r#"["10.9.0.0/16"] manager"#,
            r#"["10.10.0.0/16"] manager"#,
            r#"["10.7.0.0/16"] kubeconfig (context dev)"#,
            r#"["10.11.0.0/16"] flag --also-proxy"#,
        ]
    );
    assert_eq!(of("routing.autoResolveConflicts"), ["false manager"]);
    assert_eq!(of("dns.lookupTimeout"), [r#""3s" kubeconfig (context dev)"#]);
    assert_eq!(of("dns.excludeSuffixes"), [r#"[".example"] kubeconfig (context dev)"#]);
    assert_eq!(of("timeouts.endpointDial"), [r#""8s" /home/a/.config/tp/config.yml:2"#]);
    assert_eq!(of("timeouts.roundtripLatency"), [r#""2s" default"#]);
    assert_eq!(of("cluster.defaultManagerNamespace"), [r#""traffic" kubeconfig (context dev)"#]);
    assert_eq!(of("routing.neverProxySubnets"), ["[] default"]);
    assert_eq!(of("images"), [r#"{"registry":"x"} manager"#]);
    assert_eq!(of("grpc"), [""; 0], "what does nothing is shown only if somebody set it");
    assert_eq!(config.routing.also_proxy.len(), 4);
}

#[test]
fn the_extension_belongs_to_the_cluster_that_is_meant() {
    let kube = kubeconfig(KUBECONFIG);
    assert_eq!(kube.layer(Some("other"), None), Ok(None));
    assert_eq!(kube.layer(Some("nobody"), None), Ok(None));
    let by_cluster = kube.layer(Some("other"), Some("dev-cluster")).unwrap().unwrap();
    let rows = shown(&Config::merge([&by_cluster]), "dns.lookupTimeout");
    assert_eq!(rows, [(r#""3s""#.to_owned(), "kubeconfig (context other)".to_owned())]);
    // of two files the first counts
    let files = [("/a".to_owned(), "current-context: other\n"), ("/b".to_owned(), KUBECONFIG)];
    assert_eq!(super::super::Kubeconfig::read(files).layer(None, None), Ok(None));
    for odd in ["", "clusters: 1", "- x", "contexts: [{name: dev}]\ncurrent-context: dev", "{", "a: &a [*a]"]
    {
        assert_eq!(kubeconfig(odd).layer(None, None), Ok(None), "{odd}");
    }
}

#[test]
fn the_files_of_a_machine() {
    let env = |name: &str| (name == "HOME").then(|| "/home/a".to_owned());
    let read = |path: &Path, _: u64| match path.to_str() {
        Some("/etc/xdg/tp/config.yml") => Ok(Some("dns: {lookupTimeout: 1s, excludes: [a]}".to_owned())),
        Some("/home/a/.config/tp/config.yml") => Ok(Some("dns: {lookupTimeout: 2s}".to_owned())),
        Some("/home/a/.kube/config" | "/k") => Ok(Some(KUBECONFIG.to_owned())),
        Some("/broken") => Err("it is on the moon".to_owned()),
        _ => Ok(None),
    };
    let timeout = |chosen: &Chosen| {
        let config = Config::merge(&load(env, read, chosen).unwrap());
        assert_eq!(config.dns.excludes, ["a"]);
        config.dns.lookup_timeout.as_secs()
    };
    assert_eq!(timeout(&Chosen::default()), 2);
    let kubernetes = Chosen { kubernetes: true, ..Chosen::default() };
    assert_eq!(timeout(&kubernetes), 3);
    let named = |path: &str| Chosen { kubeconfigs: vec![path.into()], ..kubernetes.clone() };
    assert_eq!(timeout(&named("/k")), 3);
    assert_eq!(timeout(&named("/broken")), 2, "its reader will say so");
    assert_eq!(timeout(&Chosen { context: Some("other".to_owned()), ..kubernetes.clone() }), 2);
    assert_eq!(timeout(&Chosen { cluster: Some("plain".to_owned()), ..kubernetes.clone() }), 2);

    let unreadable = |path: &Path, max: u64| match read(path, max) {
        Ok(Some(_)) => Err("Permission denied (os error 13)".to_owned()),
        other => other,
    };
    let error = load(env, unreadable, &kubernetes).unwrap_err();
    insta::assert_snapshot!(error, @"/etc/xdg/tp/config.yml: it cannot be read: Permission denied (os error 13)");
    assert!(!error.hint().is_empty());
}

#[test]
fn a_view_with_sources() {
    let user = file(
        "/c.yml",
        "routing:\n  alsoProxySubnets: [10.1.0.0/16]\ndns:\n  localIP: 10.0.0.1\nintercept:\n  useFtp: true\n",
    );
    let flags = Flags { also_proxy: vec!["10.2.0.0/16".parse().unwrap()], ..Flags::default() };
    let rows = Config::merge([&user, &Layer::of_flags(&flags)]).view();
    let lines = text(&rows, true);
    for wanted in [
        "routing:\n  alsoProxySubnets:\n    - \"10.1.0.0/16\"  # /c.yml:2\n    - \"10.2.0.0/16\"  # flag --also-proxy\n",
        "  neverProxySubnets: []  # default\n",
        "  localIP: \"10.0.0.1\"  # /c.yml:4; has no effect: tp follows",
        "  useFtp: true  # /c.yml:6; has no effect yet\n",
        "dns:\n  excludeSuffixes:  # default\n    - \".com\"\n",
    ] {
        assert!(lines.contains(wanted), "{wanted}\nis not in\n{lines}");
    }
    assert!(!text(&rows, false).contains("# default"));
    let document = json(&rows, true);
    assert_eq!(document["routing"]["alsoProxySubnets"][1]["source"], "flag --also-proxy");
    assert_eq!(document["routing"]["neverProxySubnets"]["source"], "default");
    let plain = json(&rows, false);
    assert_eq!(plain["routing"]["alsoProxySubnets"], serde_json::json!(["10.1.0.0/16", "10.2.0.0/16"]));
    assert_eq!(plain["timeouts"]["endpointDial"], "10s");
}

#[test]
fn what_the_dns_server_is_told() {
    let view = ClusterView {
        cluster_domain: "cluster.local".to_owned(),
        namespaces: vec!["blue".to_owned(), "green".to_owned()],
        ..ClusterView::default()
    };
    let known = || ["red".to_owned(), "blue".to_owned()];
    let config = Config::default().dns_config(&view, "default", known(), Vec::new());
    assert_eq!(config.namespaces, ["blue", "default", "green", "red"]);
    assert_eq!(config.exclude_suffixes, crate::dns::DEFAULT_EXCLUDE_SUFFIXES);
    let mapped = Config::merge([&file("/c.yml", "cluster: {mappedNamespaces: [green, pink]}")]);
    let config = mapped.dns_config(&view, "default", known(), Vec::new());
    assert_eq!(config.namespaces, ["default", "green", "pink"]);
}

/// What one layer says of one key that is replaced and one that adds up.
fn said() -> impl Strategy<Value = (Option<u8>, Vec<u8>)> {
    (proptest::option::of(1u8..), proptest::collection::vec(0u8..8, 0..4))
}

proptest! {
    /// The reference model: the last that is set wins; lists are the union, in order.
    #[test]
    fn precedence_equals_the_model(layers in proptest::collection::vec(said(), 0..6)) {
        let yaml = |(timeout, nets): &(Option<u8>, Vec<u8>)| {
            let timeout = timeout.map_or("null".to_owned(), |seconds| format!("{seconds}s"));
            let nets: Vec<String> = nets.iter().map(|net| format!("10.{net}.0.0/16")).collect();
            format!("timeouts: {{endpointDial: {timeout}}}\nrouting: {{neverProxy: [{}]}}\n", nets.join(","))
        };
        let read: Vec<Layer> =
            layers.iter().enumerate().map(|(at, layer)| file(&format!("/{at}.yml"), &yaml(layer))).collect();
        let config = Config::merge(&read);

        let winner = layers.iter().enumerate().rev().find_map(|(at, (timeout, _))| Some((at, (*timeout)?)));
        let (source, seconds) = match winner {
            Some((at, seconds)) => (format!("/{at}.yml:1"), u64::from(seconds)),
            None => ("default".to_owned(), 10),
        };
        prop_assert_eq!(config.timeouts.endpoint_dial.as_secs(), seconds);
        prop_assert_eq!(&shown(&config, "timeouts.endpointDial")[0].1, &source);

        let mut union = Vec::new();
        for net in layers.iter().flat_map(|(_, nets)| nets) {
            if !union.contains(net) {
                union.push(*net);
            }
        }
        let union: Vec<ipnet::IpNet> =
            union.iter().map(|net| format!("10.{net}.0.0/16").parse().unwrap()).collect();
        prop_assert_eq!(&config.routing.never_proxy, &union);
        // each net is shown with the lowest layer that has it
        for (value, source) in shown(&config, "routing.neverProxySubnets") {
            for net in serde_json::from_str::<Vec<String>>(&value).unwrap() {
                let number: u8 = net.split('.').nth(1).unwrap().parse().unwrap();
                let first = layers.iter().position(|(_, nets)| nets.contains(&number)).unwrap();
                prop_assert_eq!(&source, &format!("/{first}.yml:2"));
            }
        }
    }
}
