//! What `tp config` says, with and without a connection.

use std::path::Path;

use crate::cases::snapshot;
use crate::netns::{NOBODY, Place, Said, said};

pub(crate) const CASES: &[(&str, fn())] = &[
    ("config_view_without_a_connection", without_a_connection),
    ("config_view_of_a_connection", of_a_connection),
    ("config_view_of_a_wrong_file", wrong_file),
    ("config_view_as_the_user_behind_sudo", behind_sudo),
    ("config_schema_and_path", schema_and_path),
    ("a_connect_with_wrong_flags_of_the_config", connect),
];

const FILE: &str = "\
# mine
routing:
  alsoProxySubnets: [10.1.0.0/16]
  recursionBlockDuration: 1ms
dns:
  localIP: 10.0.0.53
  mappings:
  - {name: db, aliasFor: postgres.blue}
intercept:
  defaultPort: 8888
";

const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: dev
contexts: [{name: dev, context: {cluster: dev, user: me}}]
users: [{name: me, user: {}}]
clusters:
- name: dev
  cluster:
    server: https://127.0.0.1:1
    extensions:
    - name: telepresence.io
      extension:
        also-proxy: [10.2.0.0/16]
        dns: {lookup-timeout: 3s}
";

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A home with a configuration, and no system's.
fn place() -> Place {
    let place = Place::new();
    write(&place.home.path().join(".config/tp/config.yml"), FILE);
    write(&place.home.path().join(".kube/config"), KUBECONFIG);
    place
}

fn run(place: &Place, words: &[&str]) -> Said {
    said(&place.tp(words).env("XDG_CONFIG_DIRS", "/nonexistent").output().unwrap())
}

/// Without the temporary home's name.
fn shown(name: &str, place: &Place, mut said: Said) {
    let home = place.home.path().display().to_string();
    said.stdout = said.stdout.replace(&home, "HOME");
    said.stderr = said.stderr.replace(&home, "HOME");
    snapshot(name, &said);
}

fn without_a_connection() {
    let place = place();
    shown("config_view", &place, run(&place, &["config", "view"]));
    let flags = ["--also-proxy", "10.3.0.0/16", "--proxy-via", "pods=echo", "--log-level", "debug"];
    let view = [&["config", "view", "--sources"][..], &flags].concat();
    shown("config_view_sources", &place, run(&place, &view));
    let json = run(&place, &[&view[..], &["--output", "json"]].concat());
    let document: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(document["routing"]["alsoProxySubnets"][2]["source"], "flag --also-proxy");
    // what is shown is a file that says the same
    let again = Place::new();
    write(&again.home.path().join(".config/tp/config.yml"), &run(&place, &["config", "view"]).stdout);
    let json = ["config", "view", "--output", "json"];
    assert_eq!(run(&again, &json).stdout, run(&place, &json).stdout);
}

fn of_a_connection() {
    let place = place();
    place.connect();
    let said = run(&place, &["config", "view", "--sources"]);
    let wanted = "  alsoProxySubnets:  # manager\n    - \"10.9.0.0/16\"\n";
    assert!(said.stdout.contains(wanted), "the daemon's settings, not ours: {}", said.stdout);
    assert_eq!(said.stderr, "note: the manager said something odd\n");
}

fn wrong_file() {
    let place = place();
    let path = place.home.path().join(".config/tp/config.yml");
    write(&path, &FILE.replace("recursionBlockDuration", "recursionBlockTime"));
    shown("config_view_unknown_key", &place, run(&place, &["config", "view"]));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    shown("config_view_no_file", &place, run(&place, &["config", "view"]));
    std::fs::remove_dir(&path).unwrap();
    write(&place.home.path().join(".kube/config"), &KUBECONFIG.replace("also-proxy", "also_proxy"));
    shown("config_view_wrong_extension", &place, run(&place, &["config", "view"]));
}

fn behind_sudo() {
    let place = place();
    let said = place.run_by_sudo(NOBODY, &["config", "path", "--output", "json"]);
    let paths: Vec<String> = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(paths, ["/etc/xdg/tp/config.yml", "/nonexistent/.config/tp/config.yml"]);
    // root's own files are not this user's
    let said = place.run_by_sudo(NOBODY, &["config", "view"]);
    assert!(said.stdout.contains("alsoProxySubnets: []"), "{said:?}");
}

fn schema_and_path() {
    let place = place();
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.schema.json");
    assert_eq!(run(&place, &["config", "schema"]).stdout, std::fs::read_to_string(published).unwrap());
    shown("config_path", &place, run(&place, &["config", "path"]));
}

/// The fake workstation reads no configuration; the flags are checked before it is asked.
fn connect() {
    let place = place();
    for (flag, value) in [
        ("--also-proxy", "10.0.0.1"),
        ("--never-proxy", "10.0.0.0/33"),
        ("--allow-conflicting-subnets", "all"),
        ("--proxy-via", "pods"),
        ("--vnat", "pod"),
    ] {
        let said = run(&place, &["connect", flag, value]);
        assert_eq!(said.code, Some(2), "{said:?}");
        shown(&format!("connect_wrong_{}", flag.trim_start_matches('-')), &place, said);
    }
    assert_eq!(place.processes(), []);
}
