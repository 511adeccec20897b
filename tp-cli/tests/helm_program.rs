//! `tp helm` beside the real helm program, and both on a real API server.
//!
//! These need programs that `cargo xtask setup` builds into the cache, so they run with `cargo test -- --ignored`.

#[path = "helm_program/api_server.rs"]
mod api_server;
#[path = "helm_program/programs.rs"]
mod programs;

use api_server::ApiServer;
use programs::{Values, chart, helm, tp};
use serde_json::Value;

const VALUE_SETS: [&[&str]; 9] = [
    &[],
    &["image.registry=registry.example/p,image.tag=v9,image.pullSecrets[0].name=s,image.pullPolicy=Always"],
    &[
        "podCIDRStrategy=environment,podCIDRs={10.0.0.0/8,fd00::/8}",
        "apiPort=65535,logLevel=debug,benchSink=false",
    ],
    &["podCIDRStrategy=coverPodIPs,managerRbac.namespaced=true,managerRbac.namespaces={a,b}"],
    &["podCIDRStrategy=coverPodIPs,managerRbac.namespaced=true"],
    &["podCIDRStrategy=nodePodCIDRs", "managerRbac.create=false", "podSecurityContext=null,resources=null"],
    &["clientRbac.create=true,clientRbac.subjects[0].kind=User,clientRbac.subjects[0].name=a b"],
    &[
        "clientRbac.create=true",
        "clientRbac.subjects[0].kind=Group,clientRbac.subjects[0].name=devs",
        "clientRbac.subjects[1].kind=ServiceAccount,clientRbac.subjects[1].name=s,clientRbac.subjects[1].namespace=x",
    ],
    &[
        "podSecurityContext.runAsUser=null,podLabels.a=b,podAnnotations.x\\.y/z=a\\,b: c\"d",
        "nodeSelector.k=v,tolerations[0].key=k,tolerations[0].operator=Exists,priorityClassName=p",
        "client.routing.alsoProxySubnets={10.1.0.0/16},client.routing.neverProxySubnets={10.2.0.0/16}",
        "client.routing.allowConflictingSubnets={10.3.0.0/16},client.dns.includeSuffixes={.corp}",
        "client.dns.excludeSuffixes=null,client.timeouts.proxyDial=7s,client.cluster.mappedNamespaces={a,yes}",
    ],
];

#[test]
#[ignore = "needs helm: cargo xtask setup"]
fn both_render_the_same_objects() {
    for values in VALUE_SETS {
        for namespace in ["ambassador", "other"] {
            let sets: Vec<&str> = values.iter().flat_map(|set| ["--set", set]).collect();
            let ours = tp(&["helm", "template", "-n", namespace], &sets, None);
            let theirs = helm(&["template", "traffic-manager", &chart(), "-n", namespace], &sets, None);
            similar(&ours.ok(), &theirs.ok(), &format!("{values:?}"));
        }
    }
}

#[test]
#[ignore = "needs helm: cargo xtask setup"]
fn both_read_a_values_file_alike() {
    let file = Values::file(
        "logLevel: debug\nclient:\n  connectionTTL: 1h\n  extra: {a: yes, b: 0x10, c: 1e3, e: '012', d: 2024-01-01, f: 1.5, g: off, h: ~}\n\
         podAnnotations:\n  block: |\n    a\n    b\nresources:\n  limits: null\n",
    );
    let flags = ["-f", file.path(), "--set", "client.extra.b=12", "--set-string", "podLabels.v=1"];
    let ours = tp(&["helm", "template"], &flags, None);
    let theirs = helm(&["template", "traffic-manager", &chart(), "-n", "ambassador"], &flags, None);
    similar(&ours.ok(), &theirs.ok(), "a values file");
}

#[test]
#[ignore = "needs helm: cargo xtask setup"]
fn both_refuse_the_same_values() {
    for set in [
        "apiPort=80",
        "apiport=8081",
        "logLevel=loud",
        "managerRbac.namespaced=true",
        "clientRbac.create=true",
    ] {
        assert!(!tp(&["helm", "template"], &["--set", set], None).success, "tp takes {set}");
        assert!(
            !helm(&["template", "traffic-manager", &chart()], &["--set", set], None).success,
            "helm takes {set}"
        );
    }
}

#[test]
#[ignore = "needs helm, etcd and kube-apiserver: cargo xtask setup"]
fn helm_and_tp_take_turns_on_one_release() {
    let api = ApiServer::start();
    let tp = |args: &[&str]| tp(args, &[], Some(&api)).ok();
    let helm = |args: &[&str]| helm(args, &["-n", "ambassador"], Some(&api)).ok();
    let list =
        || serde_json::from_str::<Value>(&helm(&["list", "-a", "-o", "json"])).expect("helm list gives JSON");
    let history = || {
        let all: Value =
            serde_json::from_str(&helm(&["history", "traffic-manager", "-o", "json"])).expect("JSON");
        let all =
            all.as_array().expect("a list").iter().map(|r| format!("{} {}", r["revision"], r["status"]));
        all.collect::<Vec<_>>().join(", ").replace('"', "")
    };
    let level =
        || api.kubectl_get("deployments/traffic-manager", "ambassador").to_string().contains("\"debug\"");

    tp(&["helm", "install", "--wait=false"]);
    let listed = list();
    assert_eq!(listed[0]["name"], "traffic-manager");
    assert_eq!((&listed[0]["status"], &listed[0]["revision"]), (&Value::from("deployed"), &Value::from("1")));
    assert_eq!(helm(&["get", "manifest", "traffic-manager"]).trim(), tp(&["helm", "template"]).trim());
    assert!(helm(&["get", "notes", "traffic-manager"]).contains("sudo tp connect"));

    helm(&["upgrade", "traffic-manager", &chart(), "--set", "logLevel=debug"]);
    assert!(level(), "helm changed what tp installed");
    tp(&["helm", "upgrade", "--wait=false", "--reuse-values", "--set", "managerRbac.create=false"]);
    assert!(level(), "tp kept helm's values");
    assert!(
        api.find("clusterroles/traffic-manager-ambassador", "").is_none(),
        "what a release no longer has is deleted"
    );
    helm(&["rollback", "traffic-manager", "1"]);
    assert!(!level(), "helm went back to tp's first revision");
    assert!(api.find("clusterroles/traffic-manager-ambassador", "").is_some());
    tp(&["helm", "upgrade", "--wait=false"]);
    assert_eq!(history(), "1 superseded, 2 superseded, 3 superseded, 4 superseded, 5 deployed");
    helm(&["uninstall", "traffic-manager"]);
    assert_eq!(list(), Value::Array(Vec::new()));
    assert_eq!(api.left_behind(), Vec::<String>::new(), "helm took away what tp installed");

    helm(&[
        "install",
        "traffic-manager",
        &chart(),
        "--set",
        "clientRbac.create=true,clientRbac.subjects[0].kind=User,clientRbac.subjects[0].name=x",
    ]);
    assert!(api.find("roles/traffic-manager-connect", "ambassador").is_some());
    tp(&["helm", "upgrade", "--wait=false", "--reset-values"]);
    assert!(api.find("roles/traffic-manager-connect", "ambassador").is_none());
    assert_eq!(history(), "1 superseded, 2 deployed");
    tp(&["helm", "uninstall"]);
    assert_eq!(list(), Value::Array(Vec::new()));
    assert_eq!(api.left_behind(), Vec::<String>::new(), "tp took away what helm installed");
}

#[test]
#[ignore = "needs etcd and kube-apiserver: cargo xtask setup"]
fn a_real_api_server_says_which_right_is_missing() {
    let api = ApiServer::start();
    let mut said = String::new();
    let mut attempt = |user: &str, args: &[&str], works: bool| {
        let answer = tp(args, &["--token", user], Some(&api));
        assert_eq!(answer.success, works, "{}", answer.stderr);
        said.push_str(&format!("as {user}:\n{}\n", answer.stderr));
    };
    let install = ["helm", "install", "--wait=false"];
    attempt("nobody", &install, false);
    attempt("namespace-admin", &install, false);
    // What the hint says works: an administrator of one namespace gets a manager for that namespace.
    let alone = ["--set", "managerRbac.namespaced=true,podCIDRStrategy=coverPodIPs"];
    attempt("namespace-admin", &[install.as_slice(), &alone].concat(), true);
    attempt("namespace-admin", &["helm", "uninstall"], true);
    attempt("role-maker", &install, false);
    // An attempt that failed is no obstacle to someone who may.
    attempt("admin", &install, true);
    insta::assert_snapshot!(said);
}

/// The same objects, whatever their order and notation. Texts that are YAML themselves are compared as such.
fn similar(ours: &str, theirs: &str, what: &str) {
    let sorted = |text: &str| {
        let all: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
        let mut all: Vec<Value> = all.into_iter().filter(|object| !object.is_null()).map(opened).collect();
        all.sort_by_key(|o| {
            format!("{} {} {}", o["kind"], o["metadata"]["namespace"], o["metadata"]["name"])
        });
        serde_json::to_string_pretty(&all).expect("JSON")
    };
    let (ours, theirs) = (sorted(ours), sorted(theirs));
    assert!(ours.contains("\"Deployment\""), "{what}: nothing was rendered");
    if ours != theirs {
        let differ: Vec<String> = ours
            .lines()
            .zip(theirs.lines())
            .filter(|(a, b)| a != b)
            .take(5)
            .map(|(a, b)| format!("tp   {a}\nhelm {b}"))
            .collect();
        panic!("{what}: tp and helm differ:\n{}", differ.join("\n"));
    }
}

fn opened(mut object: Value) -> Value {
    if let Some(text) = object["data"]["client.yaml"].as_str() {
        object["data"]["client.yaml"] = serde_saphyr::from_str(text).expect("YAML");
    }
    object
}
