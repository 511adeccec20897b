//! Every key arrives where it is used, and what is shown can be read again.

use std::time::Duration;

use super::super::kind::Value;
use super::super::{Config, Effect, Flags, Key, Kind, Layer, Source, text, yaml};
use super::{file, shown};
use crate::routing::Routing;

/// A value of each key that is not its default.
fn example(key: Key) -> &'static str {
    match key.spec().kind {
        Kind::Bool if key.spec().default == "true" => "false",
        Kind::Bool => "true",
        Kind::Duration => "1m30s",
        Kind::Port => "8888",
        Kind::Level => "debug",
        Kind::Name => "traffic",
        Kind::NameList => "[blue, green]",
        Kind::OneOf(_) => "portName",
        Kind::SubnetV4 => "198.18.0.0/15",
        Kind::SubnetV6 => "fd99::/64",
        Kind::Subnets => "[10.1.0.0/16, 'fd00::/8']",
        Kind::ProxyVia => "[pods=echo, 10.2.0.0/16, all]",
        Kind::Suffixes => "[.corp, example.org]",
        Kind::Names => "[www.example.org]",
        Kind::Mappings => "[{name: db, aliasFor: 10.1.2.3}, {name: api.test, aliasFor: echo.default}]",
        Kind::Anything => "{a: [1, true, x, null]}",
    }
}

#[test]
fn every_default_is_a_right_value_and_is_what_the_code_takes() {
    for key in Key::ALL {
        let node = yaml::parse(key.spec().default).unwrap();
        assert!(key.spec().kind.read(&node).is_ok(), "{key:?}");
    }
    let config = Config::default();
    assert_eq!(config.routing, Routing::default());
    assert_eq!(config.dns.exclude_suffixes, crate::dns::DEFAULT_EXCLUDE_SUFFIXES);
    assert_eq!(config.dns.lookup_timeout, crate::dns::LOOKUP_TIMEOUT);
    assert_eq!(config.log_levels.daemon, "info");
    assert!(config.cluster.agent_port_forward);
    assert_eq!(config.intercept.default_port, 8080);
}

#[test]
fn every_key_is_read_under_all_its_names_and_shown() {
    for key in Key::ALL {
        for name in std::iter::once(&key.path()).chain(key.spec().aliases) {
            let layer = file("/c.yml", &nested(name, example(*key)));
            let rows = shown(&Config::merge([&layer]), key.path());
            let wanted = yaml::parse(example(*key)).unwrap();
            let wanted = key.spec().kind.read(&wanted).unwrap();
            let line = name.split('.').count();
            assert_eq!(rows, [(wanted.to_json().to_string(), format!("/c.yml:{line}"))], "{name}");
            assert_ne!(wanted.to_json().to_string(), key.spec().default, "{name}");
        }
    }
}

/// Changes one key at a time: the typed settings must differ from the defaults for each that has an effect.
#[test]
fn every_key_reaches_the_settings() {
    for key in Key::ALL.iter().filter(|key| matches!(key.spec().effect, Effect::Now | Effect::BeforeManager))
    {
        let layer = file("/c.yml", &nested(key.path(), example(*key)));
        let (config, plain) = (Config::merge([&layer]), Config::default());
        let same = (&config.routing, &config.dns, &config.timeouts, &config.log_levels, &config.cluster)
            == (&plain.routing, &plain.dns, &plain.timeouts, &plain.log_levels, &plain.cluster);
        assert!(!same, "{key:?} changes nothing");
    }
    let layer = file("/c.yml", "intercept: {defaultPort: 1, useFtp: true, appProtocolStrategy: http}");
    let intercept = Config::merge([&layer]).intercept;
    assert_eq!((intercept.default_port, intercept.use_ftp), (1, true));
    assert_eq!(intercept.app_protocol_strategy, "http");
}

#[test]
fn what_is_shown_is_a_file_that_says_the_same() {
    let all: Vec<Layer> =
        Key::ALL.iter().map(|key| file("/c.yml", &nested(key.path(), example(*key)))).collect();
    for layers in [&[][..], &all] {
        let config = Config::merge(layers);
        for sources in [false, true] {
            let again = file("/again.yml", &text(&config.view(), sources));
            let again = Config::merge([&again]);
            assert_eq!(
                (&again.routing, &again.dns, &again.timeouts, &again.cluster, &again.intercept),
                (&config.routing, &config.dns, &config.timeouts, &config.cluster, &config.intercept)
            );
        }
    }
}

#[test]
fn flags_are_a_layer() {
    let flags = Flags {
        also_proxy: vec!["10.1.0.0/16".parse().unwrap()],
        never_proxy: vec!["10.1.2.0/24".parse().unwrap()],
        allow_conflicting: vec!["10.0.0.0/9".parse().unwrap()],
        proxy_via: vec!["pods=echo".parse().unwrap()],
        vnat: vec![crate::routing::ProxyVia::vnat("service").unwrap()],
        manager_namespace: Some("traffic".to_owned()),
        log_level: Some("trace".to_owned()),
    };
    let config = Config::merge([&Layer::of_flags(&flags)]);
    assert_eq!(config.routing.also_proxy, flags.also_proxy);
    assert_eq!(config.routing.never_proxy, flags.never_proxy);
    assert_eq!(config.routing.allow_conflicting, flags.allow_conflicting);
    assert_eq!(config.routing.proxy_via, [flags.proxy_via, flags.vnat].concat());
    assert_eq!(config.cluster.manager_namespace, flags.manager_namespace);
    assert_eq!(config.log_levels.daemon, "trace");
    assert_eq!(
        shown(&config, "routing.proxyVia"),
        [
            (r#"["pods=echo"]"#.to_owned(), "flag --proxy-via".to_owned()),
            (r#"["service"]"#.to_owned(), "flag --vnat".to_owned()),
        ]
    );
    assert_eq!(Config::merge([&Layer::of_flags(&Flags::default())]), Config::default());
}

#[test]
fn durations_and_names_are_taken_as_people_write_them() {
    let text = "timeouts: {endpointDial: 3, roundtripLatency: 0.5}\nlogLevels: {rootDaemon: WARNING}\n\
                dns: {excludes: [WWW.Example.org.]}\nrouting: {alsoProxy: [10.1.2.3/16]}\n";
    let config = Config::merge([&file("/c.yml", text)]);
    assert_eq!(config.timeouts.endpoint_dial, Duration::from_secs(3));
    assert_eq!(config.timeouts.roundtrip_latency, Duration::from_millis(500));
    assert_eq!(config.log_levels.daemon, "warn", "nobody set the other one");
    assert_eq!(config.dns.excludes, ["www.example.org"]);
    assert_eq!(config.routing.also_proxy, ["10.1.0.0/16".parse().unwrap()]);
}

#[test]
fn null_and_empty_groups_are_not_set() {
    let layer = file("/c.yml", "routing:\ndns: {}\ncluster: {defaultManagerNamespace: null}\nlogLevels: ~\n");
    assert_eq!(Config::merge([&layer]), Config::default());
    assert_eq!(Layer::parse(Source::Manager, ""), Layer::parse(Source::Manager, "# nothing"));
    assert!(matches!(Value::Unset.to_json(), serde_json::Value::Null));
}

/// `a.b` and `v` as the lines `a:` and `  b: v`.
fn nested(path: &str, value: &str) -> String {
    match path.split_once('.') {
        Some((group, name)) => format!("{group}:\n  {name}: {value}\n"),
        None => format!("{path}: {value}\n"),
    }
}
