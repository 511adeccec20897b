//! The rules, case by case, and against a model that is as simple as can be.

use proptest::prelude::*;

use super::*;

fn config() -> DnsConfig {
    DnsConfig {
        cluster_domain: "cluster.local".to_owned(),
        namespace: "default".to_owned(),
        namespaces: vec!["default".to_owned(), "blue".to_owned(), "dev".to_owned()],
        include_suffixes: vec![".corp.internal".to_owned()],
        subnets: vec!["10.96.0.0/12".parse().unwrap(), "fd00:10::/64".parse().unwrap()],
        ..DnsConfig::default()
    }
}

fn query(name: &str, rtype: u16) -> Question {
    Question { name: Name::parse(name), rtype, recursion_desired: true }
}

fn judge(name: &str) -> Verdict {
    Rules::new(&config(), &["corp.example".to_owned()]).judge(&query(name, rtype::A))
}

#[test]
fn names_of_the_cluster_go_to_the_cluster() {
    for name in [
        "echo.default.svc.cluster.local",
        "ECHO.Default.Svc.Cluster.Local.",
        "cluster.local",
        "echo.default.svc",
        "db.corp.internal",
        "4.3.96.10.in-addr.arpa",
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.d.f.ip6.arpa",
    ] {
        assert_eq!(judge(name), Verdict::Cluster, "{name}");
    }
}

#[test]
fn what_may_be_the_machines_as_well_is_asked_of_both() {
    for name in ["echo", "echo.blue", "db-0.db.blue", "_http._tcp.echo.dev"] {
        assert_eq!(judge(name), Verdict::ClusterFirst, "{name}");
    }
    for name in ["db-0.db", "www.example.de", "a.b.c.d.e"] {
        assert_eq!(judge(name), Verdict::UpstreamFirst, "{name}");
    }
}

#[test]
fn everything_else_is_the_machines() {
    for name in [
        "localhost",
        "x.localhost",
        "printer.local",
        "www.example.com",
        "x.io",
        "a.b.c.d.e.f",
        "echo.corp.example",
        "db-0.db.corp.example",
        "wpad",
        "wpad.corp.example",
        "4.3.2.1.in-addr.arpa",
        "96.10.in-addr.arpa",
        "arpa",
        "notcluster.local",
    ] {
        assert_eq!(judge(name), Verdict::Upstream, "{name}");
    }
}

#[test]
fn proxy_auto_configuration_never_comes_from_the_cluster() {
    for name in ["wpad.default.svc.cluster.local", "wpad.cluster.local", "wpad.corp.internal"] {
        assert_eq!(judge(name), Verdict::NotExist, "{name}");
    }
    assert_eq!(judge("wpad.blue"), Verdict::Upstream);
}

#[test]
fn the_longest_suffix_decides_and_a_tie_is_the_clusters() {
    let mut config = config();
    config.cluster_domain = "k8s.example.com".to_owned();
    config.exclude_suffixes =
        vec![".com".to_owned(), "vault.k8s.example.com".to_owned(), "corp.internal".to_owned()];
    let rules = Rules::new(&config, &[]);
    let judge = |name| rules.judge(&query(name, rtype::A));
    assert_eq!(judge("echo.k8s.example.com"), Verdict::Cluster);
    assert_eq!(judge("x.vault.k8s.example.com"), Verdict::Upstream);
    assert_eq!(judge("example.com"), Verdict::Upstream);
    assert_eq!(judge("x.corp.internal"), Verdict::Cluster);
}

#[test]
fn a_server_that_walks_the_tree_itself_is_left_alone() {
    let rules = Rules::new(&config(), &[]);
    for name in ["com", "echo.default.svc.cluster.local"] {
        let question = Question { recursion_desired: false, ..query(name, rtype::A) };
        assert_eq!(rules.judge(&question), Verdict::Upstream);
    }
    for rtype in [rtype::NS, rtype::SOA, 43, 48] {
        assert_eq!(rules.judge(&query("com", rtype)), Verdict::Upstream);
        assert_eq!(rules.judge(&query("com.blue", rtype)), Verdict::Upstream);
    }
    assert_eq!(rules.judge(&Question { name: None, ..query("x", rtype::NS) }), Verdict::Upstream);
}

#[test]
fn without_a_cluster_nothing_but_short_names_changes() {
    let rules = Rules::new(&DnsConfig::default(), &[]);
    let judge = |name| rules.judge(&query(name, rtype::A));
    assert_eq!(judge("echo.default.svc.cluster.local"), Verdict::Upstream);
    assert_eq!(judge("echo"), Verdict::ClusterFirst);
}

/// The rules again, with strings and without thought for speed.
fn model(config: &DnsConfig, search: &[String], name: &str, rtype: u16) -> Verdict {
    let dotted = format!(".{}", name.to_ascii_lowercase());
    let under = |suffix: &str| dotted.ends_with(&format!(".{}", suffix.trim_matches('.')));
    let longest = |suffixes: &[String]| {
        let matching = suffixes.iter().filter(|suffix| under(suffix));
        matching.map(|suffix| suffix.trim_matches('.').split('.').count()).max().unwrap_or(0)
    };
    let mut include = config.include_suffixes.clone();
    include.push(config.cluster_domain.clone());
    let included = longest(&include);
    let labels = name.split('.').count();
    let wpad = dotted.starts_with(".wpad.") || dotted == ".wpad";
    let zone = matches!(rtype, 2 | 6 | 43 | 48);
    if longest(&config.exclude_suffixes) > included {
        Verdict::Upstream
    } else if included > 0 {
        if wpad { Verdict::NotExist } else { Verdict::Cluster }
    } else if wpad || zone || under("local") || under("localhost") {
        Verdict::Upstream
    } else if labels == 1 {
        Verdict::ClusterFirst
    } else if under("svc") {
        Verdict::Cluster
    } else if labels > 5 {
        Verdict::Upstream
    } else if config.namespaces.iter().any(|namespace| under(namespace)) {
        Verdict::ClusterFirst
    } else if search.iter().any(|search| under(search)) || ![1, 5, 12, 15, 16, 28, 33].contains(&rtype) {
        Verdict::Upstream
    } else {
        Verdict::UpstreamFirst
    }
}

fn label() -> impl Strategy<Value = String> {
    // few, so that suffixes match often; some that end in one another
    static KNOWN: [&str; 13] = [
        "a",
        "aa",
        "echo",
        "Wpad",
        "svc",
        "local",
        "xlocal",
        "localhost",
        "com",
        "dev",
        "xdev",
        "cluster",
        "corp",
    ];
    proptest::sample::select(&KNOWN[..]).prop_map(str::to_owned)
}

fn dotted(labels: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    proptest::collection::vec(label(), labels).prop_map(|labels| labels.join("."))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_rules_agree_with_the_model(
        name in dotted(1..8),
        rtype in proptest::sample::select(&[1u16, 2, 6, 15, 16, 28, 33, 43, 64, 65, 255][..]),
        cluster_domain in dotted(1..4),
        include_suffixes in proptest::collection::vec(dotted(1..3), 0..3),
        exclude_suffixes in proptest::collection::vec(dotted(1..4), 1..3),
        namespaces in proptest::collection::vec(label(), 1..3),
        search in proptest::collection::vec(dotted(1..3), 0..2),
        fqdn in any::<bool>(),
    ) {
        let lower = |list: Vec<String>| list.iter().map(|text| text.to_ascii_lowercase()).collect::<Vec<_>>();
        let config = DnsConfig {
            cluster_domain: cluster_domain.to_ascii_lowercase(),
            namespace: namespaces[0].to_ascii_lowercase(),
            namespaces: lower(namespaces),
            include_suffixes: lower(include_suffixes),
            exclude_suffixes: lower(exclude_suffixes),
            ..DnsConfig::default()
        };
        let search = lower(search);
        let asked = if fqdn { format!("{name}.") } else { name.clone() };
        let verdict = Rules::new(&config, &search).judge(&query(&asked, rtype));
        prop_assert_eq!(verdict, model(&config, &search, &name, rtype));
    }

    #[test]
    fn no_name_or_configuration_panics(name in ".{0,300}", text in ".{0,40}") {
        let mut config = config();
        config.cluster_domain.clone_from(&text);
        config.include_suffixes.push(text.clone());
        config.namespaces.push(text.clone());
        let _ = Rules::new(&config, &[text]).judge(&query(&name, rtype::A));
        let _ = resolved::link_domains(&config);
    }
}
