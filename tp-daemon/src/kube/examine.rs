//! The way to the manager looked at step by step, for `tp doctor`. A connect goes it in `find`.

use std::net::IpAddr;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, Error};
use tp_core::cluster::ClusterView;
use tp_core::doctor::{Check, Stage};
use tp_proto::daemon::KubeTarget;

use super::find::{self, ManagerService};
use super::forward::{is_ready, selector};
use super::{config, guess};
use crate::failure::Failure;

/// A right on a resource in the manager's namespace.
struct Right {
    verb: &'static str,
    resource: &'static str,
    subresource: &'static str,
    /// Whether every cluster asks for it.
    always: bool,
}

/// Beside getting the Service, which is tried.
const RIGHTS: [Right; 3] = [
    Right { verb: "list", resource: "pods", subresource: "", always: true },
    Right { verb: "get", resource: "pods", subresource: "portforward", always: true },
    // Kubernetes asks for it since 1.35; before, a WebSocket was a mere `get`
    Right { verb: "create", resource: "pods", subresource: "portforward", always: false },
];

/// What was found on the way to the manager's pods.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Examined {
    pub checks: Vec<Check>,
    /// Without a manager, what the cluster tells nevertheless.
    pub guess: Option<Guess>,
}

/// Networks that are likely the cluster's.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Guess {
    pub view: ClusterView,
    pub transport: Vec<IpAddr>,
}

/// Everything up to the manager's pods.
pub async fn examine(target: &KubeTarget) -> Examined {
    let mut found = Examined::default();
    // the error is the last check then
    if let Err(check) = go(target, &mut found).await {
        found.checks.push(check);
    }
    found
}

async fn go(target: &KubeTarget, found: &mut Examined) -> Result<(), Check> {
    let checks = &mut found.checks;
    let loaded = config::load(target).await.map_err(|failure| failed("kubeconfig", failure))?;
    let client = loaded.client().map_err(|failure| failed("kubeconfig", failure))?;
    let context = if loaded.context.is_empty() { "no context" } else { loaded.context.as_str() };
    checks.push(ok("kubeconfig", format!("context {context}, namespace {}", loaded.namespace)));
    let version = find::version(&client, &loaded).await.map_err(|failure| failed("API server", failure))?;
    checks.push(ok("API server", format!("{}, Kubernetes {version}", loaded.server)));
    let service = find::service(&client, &loaded, target).await;
    let service = match service {
        Ok(service) => service,
        Err(failure) => {
            if let Some(view) = guess::view(&client).await {
                found.guess = Some(Guess { view, transport: loaded.resolve_server().await });
            }
            return Err(failed("traffic-manager", failure));
        }
    };
    checks.push(ok("traffic-manager", format!("in namespace {}", service.namespace)));
    checks.push(rights(&client, &service.namespace).await);
    checks.push(pods(&client, &service).await);
    Ok(())
}

async fn rights(client: &Client, namespace: &str) -> Check {
    let (mut missing, mut soon) = (Vec::new(), Vec::new());
    for right in &RIGHTS {
        match allowed(client, namespace, right).await {
            Ok(true) => {}
            Ok(false) if right.always => missing.push(right.name()),
            Ok(false) => soon.push(right.name()),
            Err(error) => {
                return Check::note(
                    Stage::Cluster,
                    "rights",
                    format!("the API server does not tell what you may: {error}"),
                    "",
                );
            }
        }
    }
    let hint = "ask for the rights of a tp client: the chart's value clientRbac.create";
    if !missing.is_empty() {
        let says = format!("you may not {} in namespace {namespace}", missing.join(", "));
        return Check::fail(Stage::Cluster, "rights", says, hint);
    }
    if !soon.is_empty() {
        let says =
            format!("you may not {} in namespace {namespace}: Kubernetes 1.35 asks for it", soon.join(", "));
        return Check::note(Stage::Cluster, "rights", says, hint);
    }
    ok("rights", format!("list pods and port-forward in namespace {namespace}"))
}

impl Right {
    fn name(&self) -> String {
        let slash = if self.subresource.is_empty() { "" } else { "/" };
        format!("{} {}{slash}{}", self.verb, self.resource, self.subresource)
    }
}

async fn allowed(client: &Client, namespace: &str, right: &Right) -> Result<bool, Error> {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: text(namespace),
                verb: text(right.verb),
                resource: text(right.resource),
                subresource: text(right.subresource),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = find::limited(reviews.create(&PostParams::default(), &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

async fn pods(client: &Client, manager: &ManagerService) -> Check {
    const NAME: &str = "manager's pods";
    let pods: Api<Pod> = Api::namespaced(client.clone(), &manager.namespace);
    let of_manager = ListParams::default().labels(&selector(&manager.service));
    let see = format!("see `kubectl -n {} describe pods -l app=traffic-manager`", manager.namespace);
    match find::limited(pods.list(&of_manager)).await {
        Ok(list) => {
            let ready = list.items.iter().filter(|pod| is_ready(pod)).count();
            match (ready, list.items.len()) {
                (0, 0) => Check::fail(Stage::Cluster, NAME, "there is none", see),
                (0, all) => Check::fail(Stage::Cluster, NAME, format!("none of {all} is ready"), see),
                (ready, all) if ready < all => {
                    Check::note(Stage::Cluster, NAME, format!("{ready} of {all} ready"), see)
                }
                (_, all) => ok(NAME, format!("{all} ready")),
            }
        }
        Err(error) => Check::fail(Stage::Cluster, NAME, format!("listing them: {error}"), see),
    }
}

fn ok(name: &str, says: String) -> Check {
    Check::ok(Stage::Cluster, name, says)
}

fn failed(name: &str, failure: Failure) -> Check {
    Check::fail(Stage::Cluster, name, failure.message(), failure.hint)
}
