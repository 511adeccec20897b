//! The commands, whole: what they print, what they leave in the cluster, and what they say when it fails.

mod api;

use super::{HelmArgs, execute, history::History, ui::Ui};
use crate::report;
use api::Api;
use clap::{CommandFactory, Parser};
use http::Method;
use serde_json::{Value, json};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/ambassador/deployments/traffic-manager";
const SECRETS: &str = "/api/v1/namespaces/ambassador/secrets";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: HelmArgs,
}

/// Everything a command prints, with its streams told apart.
async fn tp_helm(api: &Api, words: &str) -> String {
    let args = match Cli::try_parse_from(["tp helm"].into_iter().chain(words.split_whitespace())) {
        Ok(cli) => cli.args,
        Err(error) => return format!("$ tp helm {words}\n{error}"),
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ui = Ui { out: &mut out, err: &mut err };
    let client = api.client();
    let result = execute(args, async || Ok(client), "ambassador".to_owned(), ui).await;
    let mut said = format!("$ tp helm {words}\n{}", String::from_utf8(err).unwrap());
    if !out.is_empty() {
        said.push_str(&format!("[stdout: {} lines]\n", String::from_utf8(out).unwrap().lines().count()));
    }
    if let Err(error) = result {
        said.push_str(&report::text(&error));
    }
    said
}

/// Revisions and how each is recorded.
async fn revisions(api: &Api) -> String {
    let cluster = super::cluster::Cluster::new(api.client());
    let history = History::read(&cluster, "ambassador").await.unwrap();
    let lines =
        history.all().iter().map(|r| format!("{} {}: {}\n", r.version, r.info.status, r.info.description));
    lines.collect()
}

#[test]
fn every_command_explains_itself() {
    let mut said = String::new();
    let mut command = Cli::command().name("tp helm").term_width(100);
    command.build();
    said.push_str(&command.render_help().to_string());
    for command in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let help = command.render_help();
        said.push_str(&format!("\n$ tp helm {} --help\n{help}", command.get_name()));
    }
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn a_release_from_install_to_uninstall() {
    let api = Api::default();
    let mut said = String::new();
    for words in [
        "uninstall",
        "upgrade --wait=false",
        "install --wait=false --dry-run",
        "install --wait=false --set image.registry=registry.example/p",
        "install --wait=false",
        "upgrade --wait=false",
        "upgrade --wait=false --set managerRbac.create=false",
        "upgrade --wait=false --reuse-values --set logLevel=debug",
        "upgrade --dry-run --reset-values",
        "uninstall --dry-run",
    ] {
        said.push_str(&tp_helm(&api, words).await);
        said.push('\n');
    }
    said.push_str(&revisions(&api).await);
    said.push_str(&tp_helm(&api, "uninstall").await);
    insta::assert_snapshot!(said);
    assert_eq!(api.paths(), ["/api/v1/namespaces/ambassador"], "only the namespace is left");
}

#[tokio::test]
async fn an_upgrade_starts_from_the_values_the_flags_say() {
    let api = Api::default();
    let env = |api: &Api| -> Vec<Value> {
        let deployment = api.get(DEPLOYMENT).unwrap();
        let all = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
        all.into_iter()
            .filter(|e| ["LOG_LEVEL", "SERVER_PORT"].contains(&e["name"].as_str().unwrap()))
            .map(|e| e["value"].clone())
            .collect()
    };
    tp_helm(&api, "install --wait=false --set logLevel=debug").await;
    assert_eq!(env(&api), ["debug", "8081"]);
    tp_helm(&api, "upgrade --wait=false").await;
    assert_eq!(env(&api), ["debug", "8081"], "no value given: all are kept");
    tp_helm(&api, "upgrade --wait=false --reuse-values --set apiPort=9000").await;
    assert_eq!(env(&api), ["debug", "9000"], "the new are laid over the old");
    tp_helm(&api, "upgrade --wait=false --set apiPort=9001").await;
    assert_eq!(env(&api), ["info", "9001"], "values given: the old are forgotten");
    tp_helm(&api, "upgrade --wait=false --reset-values").await;
    assert_eq!(env(&api), ["info", "8081"]);
}

#[tokio::test]
async fn only_ten_revisions_are_kept() {
    let api = Api::default();
    tp_helm(&api, "install --wait=false").await;
    for _ in 0..12 {
        tp_helm(&api, "upgrade --wait=false").await;
    }
    let kept = revisions(&api).await;
    assert_eq!(kept.lines().count(), 10);
    assert!(kept.ends_with("13 deployed: Upgrade complete\n"), "{kept}");
    assert!(kept.starts_with("4 superseded"), "{kept}");
}

#[tokio::test]
async fn missing_rights_are_named_before_anything_is_changed() {
    let api = Api::default();
    let mut said = String::new();
    api.forbid(Method::POST, "/apis/rbac.authorization.k8s.io/v1/cluster");
    said.push_str(&tp_helm(&api, "install").await);
    api.forbid(Method::GET, "/apis/apps/v1/namespaces/ambassador/deployments");
    api.forbid(Method::POST, SECRETS);
    said.push_str(&tp_helm(&api, "install").await);
    assert!(api.paths().is_empty());
    api.forbid(Method::GET, SECRETS);
    said.push_str(&tp_helm(&api, "install").await);
    assert!(api.paths().is_empty());
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn an_attempt_that_failed_half_way_is_taken_up_by_the_next() {
    let api = Api::default();
    let mut said = String::new();
    // A webhook or a quota says no to one object, which nobody can know beforehand.
    api.refuse(Method::POST, "/apis/rbac.authorization.k8s.io/v1/clusterroles");
    said.push_str(&tp_helm(&api, "install --wait=false").await);
    said.push_str(&revisions(&api).await);
    api.allow_all();
    said.push_str(&tp_helm(&api, "install --wait=false").await);
    said.push_str(&revisions(&api).await);
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn a_manager_that_does_not_start_fails_the_install() {
    let api = Api::default();
    api.set_status("deployments", json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}));
    let labels = json!({"app": "traffic-manager", "telepresence": "manager"});
    let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"tp-traffic:0.1.0\""}});
    let pod = json!({"metadata": {"name": "traffic-manager-1", "labels": labels}, "status": {"containerStatuses": [{"image": "tp-traffic:0.1.0", "state": waiting}]}});
    api.put("/api/v1/namespaces/ambassador/pods/traffic-manager-1", pod);
    let mut said = tp_helm(&api, "install").await;
    said.push_str(&revisions(&api).await);
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn waits_until_the_manager_runs_or_the_time_is_over() {
    let api = Api::default();
    let started = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1});
    api.set_status("deployments", started.clone());
    let mut said = tp_helm(&api, "install --timeout 0s").await;
    tp_helm(&api, "uninstall").await;
    let mut ready = started;
    ready["availableReplicas"] = json!(1);
    api.set_status("deployments", ready);
    said.push_str(&tp_helm(&api, "install").await);
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn what_is_not_ours_stays_as_it_is() {
    let api = Api::default();
    let mut said = String::new();
    // An object that someone made by hand.
    api.put(
        "/api/v1/namespaces/ambassador/services/traffic-manager",
        json!({"metadata": {"name": "traffic-manager"}}),
    );
    said.push_str(&tp_helm(&api, "install --wait=false").await);
    // A release of Telepresence.
    let api = Api::default();
    tp_helm(&api, "install --wait=false").await;
    let cluster = super::cluster::Cluster::new(api.client());
    let history = History::read(&cluster, "ambassador").await.unwrap();
    let mut theirs = history.last().unwrap().clone();
    theirs.chart = json!({"metadata": {"name": "telepresence-oss", "version": "2.20.2"}});
    History::update(&cluster, &theirs, k8s_openapi::jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    let before = api.paths();
    for words in ["install", "upgrade", "uninstall"] {
        said.push_str(&tp_helm(&api, words).await);
    }
    assert_eq!(api.paths(), before);
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn wrong_words_and_values_are_explained() {
    let api = Api::default();
    let mut said = String::new();
    for words in [
        "install --set logLevel",
        "install --set logLevel=loud",
        "install --values /nonexistent.yaml",
        "install --create-namespace=false",
        "install --timeout soon",
        "upgrade --reuse-values --reset-values",
        "rollback",
    ] {
        said.push_str(&tp_helm(&api, words).await);
        said.push('\n');
    }
    insta::assert_snapshot!(said);
    assert!(api.paths().is_empty());
}
