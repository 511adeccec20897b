//! Finds the traffic-manager in a cluster, and says clearly why it cannot be found.

use std::time::Duration;

use anyhow::anyhow;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::api::ListParams;
use kube::{Api, Client, Error, ResourceExt};
use tp_proto::daemon::KubeTarget;

use super::Loaded;
use crate::failure::Failure;

/// Name of the manager's Service (facts §9: the release name is fixed).
const SERVICE: &str = "traffic-manager";
/// Where `tp helm install` puts the manager unless told otherwise; the same as Telepresence's.
const DEFAULT_NAMESPACE: &str = "ambassador";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The manager's Service.
#[derive(Clone, Debug)]
pub(super) struct ManagerService {
    pub(super) namespace: String,
    pub(super) service: Service,
}

/// Asks the API server for its version: the first proof that we reach it and that it knows us.
pub(super) async fn version(client: &Client, loaded: &Loaded) -> Result<String, Failure> {
    let doing = format!("connecting to the cluster's API server {}", loaded.server);
    match limited(client.apiserver_version()).await {
        Ok(version) => {
            tracing::info!(version = version.git_version, server = loaded.server, "API server");
            Ok(version.git_version)
        }
        Err(error) => {
            let hint = hint_for(&error, &loaded.context);
            Err(Failure::new(anyhow::Error::from(error).context(doing), hint))
        }
    }
}

pub(super) async fn service(
    client: &Client,
    loaded: &Loaded,
    target: &KubeTarget,
) -> Result<ManagerService, Failure> {
    if !target.manager_namespace.is_empty() {
        let namespace = target.manager_namespace.clone();
        return match get(client, &namespace).await {
            Ok(Some(service)) => Ok(service),
            Ok(None) => Err(not_installed(&format!("in namespace {namespace}"), &format!(" -n {namespace}"))),
            Err(error) => Err(denied(error, &namespace)),
        };
    }
    // the places where it usually is, then wherever we may look
    let mut refused = None;
    for namespace in [DEFAULT_NAMESPACE, &loaded.namespace] {
        match get(client, namespace).await {
            Ok(Some(service)) => return Ok(service),
            Ok(None) => {}
            Err(error) => refused = Some((error, namespace.to_owned())),
        }
    }
    let everywhere: Api<Service> = Api::all(client.clone());
    let by_name = ListParams::default().fields(&format!("metadata.name={SERVICE}"));
    if let Ok(list) = limited(everywhere.list(&by_name)).await
        && let Some(service) = list.items.into_iter().min_by_key(ResourceExt::namespace)
    {
        let namespace = service.namespace().unwrap_or_default();
        return Ok(ManagerService { namespace, service });
    }
    match refused {
        Some((error, namespace)) => Err(denied(error, &namespace)),
        None => Err(not_installed("in this cluster", "")),
    }
}

pub(super) async fn namespaces(client: &Client) -> Vec<String> {
    let all: Api<Namespace> = Api::all(client.clone());
    match limited(all.list(&ListParams::default())).await {
        Ok(list) => list.items.iter().map(ResourceExt::name_any).collect(),
        Err(error) => {
            tracing::debug!(%error, "namespaces cannot be listed");
            Vec::new()
        }
    }
}

async fn get(client: &Client, namespace: &str) -> Result<Option<ManagerService>, Error> {
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let found = limited(services.get_opt(SERVICE)).await?;
    Ok(found.map(|service| ManagerService { namespace: namespace.to_owned(), service }))
}

pub(super) async fn limited<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(result) => result,
        Err(_) => Err(Error::Service("the API server did not answer within 15 s".into())),
    }
}

fn not_installed(place: &str, flag: &str) -> Failure {
    Failure::new(
        anyhow!("there is no Service {SERVICE} {place}").context("looking for the traffic-manager"),
        format!("install it with `tp helm install{flag}`, or name its namespace with --manager-namespace"),
    )
}

fn denied(error: Error, namespace: &str) -> Failure {
    let hint = match &error {
        Error::Api(status) if status.code == 403 => format!(
            "ask for the rights of a tp client (chart value clientRbac.create), or name the namespace you may use with \
             --manager-namespace; needed in {namespace}: get services, get and list pods, create pods/portforward"
        ),
        _ => "is the cluster healthy? try `kubectl get services -A`".to_owned(),
    };
    Failure::new(
        anyhow::Error::from(error)
            .context(format!("looking for the traffic-manager in namespace {namespace}")),
        hint,
    )
}

fn hint_for(error: &Error, context: &str) -> String {
    match error {
        Error::Api(status) if status.code == 401 => {
            format!("the credentials of context {context} are expired or wrong: log in again, then retry")
        }
        Error::Api(status) if status.code == 403 => {
            format!(
                "the user of context {context} has no rights there; `kubectl auth whoami` tells who you are"
            )
        }
        Error::Auth(_) => {
            "the credential plugin of the kubeconfig failed: run the command it names by hand".to_owned()
        }
        _ => format!(
            "is the cluster up, and is its address reachable from here (VPN)? `kubectl --context {context} version`"
        ),
    }
}
