//! What the flags make of a kubeconfig.

use super::{KubeFlags, parse_duration};
use crate::report;
use std::{io::Write, path::PathBuf, time::Duration};

const KUBECONFIG: &str = r#"
apiVersion: v1
kind: Config
current-context: one
clusters:
- {name: c1, cluster: {server: "https://192.0.2.1:6443", proxy-url: "http://192.0.2.9:3128"}}
- {name: c2, cluster: {server: "https://192.0.2.2:6443"}}
users:
- {name: u1, user: {token: t1}}
- {name: u2, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/false, interactiveMode: Never}}}
contexts:
- {name: one, context: {cluster: c1, user: u1, namespace: blue}}
- {name: two, context: {cluster: c2, user: u2}}
"#;

fn file() -> (tempfile::NamedTempFile, KubeFlags) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(KUBECONFIG.as_bytes()).unwrap();
    let flags = KubeFlags { kubeconfig: Some(file.path().into()), ..KubeFlags::default() };
    (file, flags)
}

#[tokio::test]
async fn the_current_context_says_where_and_flags_say_otherwise() {
    let (_file, flags) = file();
    let config = flags.config().await.unwrap();
    assert_eq!(config.cluster_url, "https://192.0.2.1:6443/");
    assert_eq!(config.default_namespace, "blue");
    assert_eq!(config.proxy_url.unwrap(), "http://192.0.2.9:3128/");

    let flags = KubeFlags {
        context: Some("two".into()),
        namespace: Some("red".into()),
        as_user: Some("jane".into()),
        as_group: vec!["devs".into(), "ops".into()],
        token: Some("t2".into()),
        insecure_skip_tls_verify: true,
        ..flags
    };
    let config = flags.config().await.unwrap();
    assert_eq!(config.cluster_url, "https://192.0.2.2:6443/");
    assert_eq!(config.default_namespace, "red");
    assert_eq!(config.auth_info.impersonate.as_deref(), Some("jane"));
    assert_eq!(config.auth_info.impersonate_groups.unwrap(), ["devs", "ops"]);
    assert!(config.auth_info.exec.is_none(), "--token replaces the credential plugin");
    assert!(config.accept_invalid_certs);
}

#[tokio::test]
async fn wrong_names_are_errors_that_say_what_to_do() {
    let (_file, flags) = file();
    let wrong_context = KubeFlags { context: Some("three".into()), ..flags.clone() };
    insta::assert_snapshot!(said(&wrong_context).await, @r#"
    error: reading the kubeconfig: failed to load current context: three

    hint: see the contexts there are: kubectl config get-contexts
    "#);
    let wrong_cluster = KubeFlags { cluster: Some("c9".into()), ..flags.clone() };
    insta::assert_snapshot!(said(&wrong_cluster).await, @r#"
    error: reading the kubeconfig: failed to load the cluster of context: c9

    hint: see the clusters there are: kubectl config get-clusters
    "#);
    let wrong_file = KubeFlags { kubeconfig: Some(PathBuf::from("/nonexistent")), ..KubeFlags::default() };
    insta::assert_snapshot!(said(&wrong_file).await, @r#"
    error: reading the kubeconfig: failed to read kubeconfig from '"/nonexistent"': No such file or directory (os error 2)

    hint: point --kubeconfig or KUBECONFIG at the file that your cluster's provider gives you
    "#);
    let wrong_server = KubeFlags { server: Some("https://[".into()), ..flags };
    insta::assert_snapshot!(said(&wrong_server).await, @r#"
    error: reading --server https://[: invalid authority

    hint: give a URL like https://10.0.0.1:6443
    "#);
}

#[test]
fn times_are_written_as_kubectl_writes_them() {
    assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
    assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
    assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
    for wrong in ["", "x", "s", "1d", "-1s", "9e9h", "999999999999999999h"] {
        assert!(parse_duration(wrong).is_err(), "{wrong}");
    }
}

async fn said(flags: &KubeFlags) -> String {
    report::text(&flags.config().await.unwrap_err())
}
