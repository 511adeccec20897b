//! Waiting until the manager runs, and saying why it does not.

use super::{
    cluster::Cluster,
    manifest::{POD, Place},
    ui::Ui,
};
use crate::report::with_hint;
use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// How a rollout stands.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Done,
    Waiting(String),
    /// It will not get better by itself: what is wrong, and what to do.
    Stuck(String, String),
}

/// Follows the Deployment until its pods are ready, at most for `limit`.
pub(crate) async fn wait(
    cluster: &Cluster,
    deployment: &Place,
    limit: Duration,
    ui: &mut Ui<'_>,
) -> Result<()> {
    let deadline = Instant::now() + limit;
    let mut said = String::new();
    loop {
        let Some(live) = cluster.get(deployment).await? else {
            bail!("{} is gone while we wait for it", deployment.title());
        };
        // Pods only explain; without the right to list them we wait all the same.
        let pods = cluster.list(POD, &deployment.namespace, "app=traffic-manager,telepresence=manager").await;
        match judge(&live, &pods.unwrap_or_default()) {
            Progress::Done => return Ok(()),
            Progress::Stuck(what, hint) => {
                return Err(with_hint(anyhow!("waiting for {}: {what}", deployment.title()), hint));
            }
            Progress::Waiting(why) if Instant::now() >= deadline => {
                let what = format!("waiting for {}: after {} s {why}", deployment.title(), limit.as_secs());
                let hint = format!(
                    "look with `kubectl -n {0} describe pod -l app=traffic-manager`, or wait longer with --timeout",
                    deployment.namespace
                );
                return Err(with_hint(anyhow!(what), hint));
            }
            Progress::Waiting(why) => {
                if said != why {
                    ui.say(format!("  waiting: {why}"));
                    said = why;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn judge(deployment: &Value, pods: &[Value]) -> Progress {
    let count = |field: &Value| field.as_u64().unwrap_or(0);
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let status = &deployment["status"];
    let seen = count(&status["observedGeneration"]) >= count(&deployment["metadata"]["generation"]);
    if !seen {
        return Progress::Waiting("the cluster has not taken it up".to_owned());
    }
    if count(&status["updatedReplicas"]) >= wanted
        && count(&status["availableReplicas"]) >= wanted
        && count(&status["replicas"]) <= wanted
    {
        return Progress::Done;
    }
    let mut why = None;
    // A pod of the previous revision that ends has nothing to say.
    for pod in pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
        match pod_state(pod) {
            Some(stuck @ Progress::Stuck(..)) => return stuck,
            Some(Progress::Waiting(text)) => why = Some(text),
            _ => {}
        }
    }
    let failed = conditions(deployment).find(|c| c["type"] == "ReplicaFailure" && c["status"] == "True");
    if let Some(message) = failed.and_then(|condition| condition["message"].as_str()) {
        let hint =
            "the cluster refuses the pod: a quota, a policy or an admission webhook says no; see its message";
        return Progress::Stuck(format!("no pod can be made: {message}"), hint.to_owned());
    }
    let available = count(&status["availableReplicas"]);
    Progress::Waiting(why.unwrap_or_else(|| format!("{available} of {wanted} pods ready")))
}

fn pod_state(pod: &Value) -> Option<Progress> {
    let name = pod["metadata"]["name"].as_str().unwrap_or("?");
    let unscheduled = conditions(pod).find(|c| c["type"] == "PodScheduled" && c["status"] == "False");
    if let Some(condition) = unscheduled {
        let message = condition["message"].as_str().unwrap_or("no node takes it");
        return Some(Progress::Waiting(format!("pod {name} is not scheduled: {message}")));
    }
    for container in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
        let waiting = &container["state"]["waiting"];
        let Some(reason) = waiting["reason"].as_str() else { continue };
        let message = waiting["message"].as_str().unwrap_or_default();
        let image = container["image"].as_str().unwrap_or("?");
        let restarts = container["restartCount"].as_u64().unwrap_or(0);
        let what = format!("pod {name}: {reason}: {message}");
        let stuck = match reason {
            "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" => format!(
                "put the image {image} where the nodes can pull it and name the place with --set image.registry=HOST/PROJECT \
                 (--set image.pullSecrets[0].name=SECRET if it asks for a password)"
            ),
            "CreateContainerConfigError" | "CreateContainerError" => {
                "the node refuses the container: see its message, and podSecurityContext in `tp helm values`"
                    .to_owned()
            }
            "CrashLoopBackOff" if restarts >= 2 => {
                "see what it says: kubectl logs --previous -l app=traffic-manager".to_owned()
            }
            _ => return Some(Progress::Waiting(format!("pod {name}: {reason}"))),
        };
        return Some(Progress::Stuck(what, stuck));
    }
    None
}

fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    object["status"]["conditions"].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::{Progress, judge};
    use serde_json::{Value, json};

    fn deployment(status: &Value) -> Value {
        json!({"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": status})
    }

    fn pod(state: &Value, restarts: u64) -> Value {
        json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [{"image": "x/y:1", "restartCount": restarts, "state": {"waiting": state}}]}})
    }

    #[test]
    fn a_rollout_is_done_when_only_new_pods_are_left() {
        let done =
            json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        assert_eq!(judge(&deployment(&done), &[]), Progress::Done);
        let old_pod_left =
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2});
        assert_ne!(judge(&deployment(&old_pod_left), &[]), Progress::Done);
        let not_seen =
            json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        assert_ne!(judge(&deployment(&not_seen), &[]), Progress::Done);
    }

    #[test]
    fn says_what_it_waits_for_and_what_will_never_come() {
        let started = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1});
        let cases = [
            (deployment(&json!({})), vec![]),
            (deployment(&started), vec![]),
            (deployment(&started), vec![pod(&json!({"reason": "ContainerCreating"}), 0)]),
            (deployment(&started), vec![pod(&json!({"reason": "ErrImagePull", "message": "not found"}), 0)]),
            (
                deployment(&started),
                vec![pod(&json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image"}), 0)],
            ),
            (
                deployment(&started),
                vec![pod(&json!({"reason": "CrashLoopBackOff", "message": "back-off 10s"}), 1)],
            ),
            (
                deployment(&started),
                vec![pod(&json!({"reason": "CrashLoopBackOff", "message": "back-off 20s"}), 2)],
            ),
            (
                deployment(&started),
                vec![
                    json!({"metadata": {"name": "p"}, "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]}}),
                ],
            ),
            (
                deployment(
                    &json!({"observedGeneration": 2, "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]}),
                ),
                vec![],
            ),
        ];
        let said: Vec<String> =
            cases.iter().map(|(deployment, pods)| format!("{:?}", judge(deployment, pods))).collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        Waiting("the cluster has not taken it up")
        Waiting("0 of 1 pods ready")
        Waiting("pod p: ContainerCreating")
        Waiting("pod p: ErrImagePull")
        Stuck("pod p: ImagePullBackOff: Back-off pulling image", "put the image x/y:1 where the nodes can pull it and name the place with --set image.registry=HOST/PROJECT (--set image.pullSecrets[0].name=SECRET if it asks for a password)")
        Waiting("pod p: CrashLoopBackOff")
        Stuck("pod p: CrashLoopBackOff: back-off 20s", "see what it says: kubectl logs --previous -l app=traffic-manager")
        Waiting("pod p is not scheduled: 0/3 nodes are available")
        Stuck("no pod can be made: exceeded quota", "the cluster refuses the pod: a quota, a policy or an admission webhook says no; see its message")
        "#);
    }
}
