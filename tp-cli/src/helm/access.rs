//! Asks the API server beforehand whether we may do all of it, so that a missing right is known before anything is
//! changed, and all missing ones at once.

use super::{
    cluster::{Cluster, Scope},
    manifest::{Kind, Object, SECRET},
};
use crate::report::with_hint;
use anyhow::{Result, anyhow};
use tokio::task::JoinSet;

/// Refuses when rights are missing to change `old` into `new` in the release of `namespace`.
pub(crate) async fn check(cluster: &Cluster, namespace: &str, old: &[Object], new: &[Object]) -> Result<()> {
    let verbs: &[&str] = if old.is_empty() { &["get", "create"] } else { &["get", "create", "patch"] };
    let mut needs = Vec::new();
    let mut need = |kind: &'static Kind, namespace: &str, verb: &'static str| {
        let need = Need { kind, namespace: namespace.to_owned(), verb };
        if !needs.contains(&need) {
            needs.push(need);
        }
    };
    for verb in ["create", "patch"] {
        need(SECRET, namespace, verb);
    }
    for object in new {
        verbs.iter().for_each(|verb| need(object.place.kind, &object.place.namespace, verb));
    }
    for object in old.iter().filter(|old| new.iter().all(|new| new.place != old.place)) {
        need(object.place.kind, &object.place.namespace, "delete");
    }
    refuse(&missing(cluster, needs).await)
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Need {
    kind: &'static Kind,
    namespace: String,
    verb: &'static str,
}

/// Those of `needs` that the API server denies, in their order. No answer is no denial: then the request itself tells.
async fn missing(cluster: &Cluster, needs: Vec<Need>) -> Vec<Need> {
    let mut asked = JoinSet::new();
    for (at, need) in needs.iter().cloned().enumerate() {
        let cluster = cluster.clone();
        asked.spawn(async move { (at, cluster.may(need.verb, need.kind, &need.namespace).await) });
    }
    let mut denied = Vec::new();
    while let Some(Ok((at, allowed))) = asked.join_next().await {
        if allowed == Some(false) {
            denied.push(at);
        }
    }
    needs.into_iter().enumerate().filter(|(at, _)| denied.contains(at)).map(|(_, need)| need).collect()
}

fn refuse(missing: &[Need]) -> Result<()> {
    let mut lines: Vec<(&Need, Vec<&str>)> = Vec::new();
    for need in missing {
        match lines.iter_mut().find(|(first, _)| first.kind == need.kind && first.namespace == need.namespace)
        {
            Some((_, verbs)) => verbs.push(need.verb),
            None => lines.push((need, vec![need.verb])),
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = lines
        .iter()
        .map(|(need, verbs)| {
            format!("{} {} {}", verbs.join(", "), need.kind.resource(), Scope(&need.namespace))
        })
        .collect();
    let only_cluster_wide = missing.iter().all(|need| need.namespace.is_empty());
    let hint = if only_cluster_wide {
        "have a cluster administrator install it, or do without rights on the whole cluster: \
         --set managerRbac.namespaced=true,podCIDRStrategy=coverPodIPs"
    } else {
        "ask a cluster administrator for these rights, or be someone else with --context or --as"
    };
    Err(with_hint(anyhow!("you lack these rights:\n  {}", shown.join("\n  ")), hint))
}
