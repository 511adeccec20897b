//! Requests to the API server, with errors that say what we were doing and which right was missing.

use super::manifest::{Kind, Place};
use crate::report::with_hint;
use anyhow::{Result, anyhow};
use http::{Method, Request};
use serde_json::{Value, json};

/// The API server.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: kube::Client,
}

impl Cluster {
    pub(crate) fn new(client: kube::Client) -> Self {
        Self { client }
    }

    pub(crate) async fn get(&self, place: &Place) -> Result<Option<Value>> {
        match self.send(Method::GET, named(place), "", None).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if code(&error) == Some(404) => Ok(None),
            Err(error) => Err(explain(error, "get", place)),
        }
    }

    /// The objects of a kind in a namespace that carry these labels (`a=b,c=d`).
    pub(crate) async fn list(
        &self,
        kind: &'static Kind,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<Value>> {
        let place = Place { kind, namespace: namespace.to_owned(), name: String::new() };
        let path =
            format!("{}?labelSelector={}", path(&place), labels.replace(',', "%2C").replace('=', "%3D"));
        match self.send(Method::GET, path, "", None).await {
            Ok(mut value) => match value["items"].take() {
                Value::Array(items) => Ok(items),
                _ => Ok(Vec::new()),
            },
            Err(error) => Err(explain(error, "list", &place)),
        }
    }

    /// Creates the object; false when there is one already.
    pub(crate) async fn create(&self, place: &Place, body: &Value) -> Result<bool> {
        match self
            .send(Method::POST, format!("{}?fieldManager=helm", path(place)), "application/json", Some(body))
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if code(&error) == Some(409) => Ok(false),
            Err(error) => Err(explain(error, "create", place)),
        }
    }

    /// Applies a JSON merge patch.
    pub(crate) async fn patch(&self, place: &Place, patch: &Value) -> Result<()> {
        let path = format!("{}?fieldManager=helm", named(place));
        match self.send(Method::PATCH, path, "application/merge-patch+json", Some(patch)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(explain(error, "patch", place)),
        }
    }

    /// Deletes the object; false when there is none.
    pub(crate) async fn delete(&self, place: &Place) -> Result<bool> {
        // Background: the object goes at once and its dependents follow.
        match self
            .send(Method::DELETE, format!("{}?propagationPolicy=Background", named(place)), "", None)
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if code(&error) == Some(404) => Ok(false),
            Err(error) => Err(explain(error, "delete", place)),
        }
    }

    /// May we? Nothing when the API server does not say.
    pub(crate) async fn may(&self, verb: &str, kind: &Kind, namespace: &str) -> Option<bool> {
        let attributes =
            json!({"verb": verb, "group": kind.group, "resource": kind.plural, "namespace": namespace});
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
        let answer = self.send(Method::POST, path, "application/json", Some(&review)).await.ok()?;
        answer["status"]["allowed"].as_bool()
    }

    async fn send(
        &self,
        method: Method,
        path: String,
        content: &str,
        body: Option<&Value>,
    ) -> Result<Value, kube::Error> {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(http::header::CONTENT_TYPE, content);
        }
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(body).map_err(kube::Error::HttpError)?;
        self.client.request(request).await
    }
}

/// Is this error the API server's "forbidden"?
pub(crate) fn is_forbidden(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Explained>().is_some_and(|explained| code(&explained.error) == Some(403))
}

fn path(place: &Place) -> String {
    let Kind { group, version, plural, .. } = place.kind;
    let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    match place.namespace.as_str() {
        "" => format!("{root}/{plural}"),
        namespace => format!("{root}/namespaces/{namespace}/{plural}"),
    }
}

fn named(place: &Place) -> String {
    format!("{}/{}", path(place), place.name)
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Where a right holds, in words; no namespace is the whole cluster.
pub(crate) struct Scope<'a>(pub(crate) &'a str);

impl std::fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            "" => f.write_str("in the whole cluster"),
            namespace => write!(f, "in namespace {namespace}"),
        }
    }
}

/// What we were doing, what the API server said, and what the user can do about it.
fn explain(error: kube::Error, verb: &str, place: &Place) -> anyhow::Error {
    let resource = place.kind.resource();
    let scope = Scope(&place.namespace);
    let doing = match (verb, place.name.as_str()) {
        ("list", _) => format!("listing {} {scope}", place.kind.plural),
        ("get", _) => format!("reading {}", place.title()),
        ("patch", _) => format!("changing {}", place.title()),
        ("delete", _) => format!("deleting {}", place.title()),
        (_, _) => format!("creating {}", place.title()),
    };
    let (said, hint) = match &error {
        kube::Error::Api(status) if status.code == 403 && status.message.contains("attempting to grant") => (
            "you may not hand out rights that you do not have yourself".to_owned(),
            "have a cluster administrator install it, or set managerRbac.create=false and have the roles made for you \
             (tp helm template shows them)"
                .to_owned(),
        ),
        kube::Error::Api(status) if status.code == 403 => (
            format!("you may not {verb} {resource} {scope}"),
            format!("ask a cluster administrator for the verb {verb} on {resource} {scope}, or be someone else with --context or --as"),
        ),
        kube::Error::Api(status) if status.code == 401 => (
            "the API server does not know you".to_owned(),
            "your credentials may have expired: log in to the cluster again, or choose another --context".to_owned(),
        ),
        kube::Error::Api(status) if status.code == 404 && verb == "create" => (
            status.message.clone(),
            format!("does the namespace {} exist?", place.namespace),
        ),
        kube::Error::Api(status) => {
            (status.message.clone(), "these are the API server's own words: show them to the cluster's administrator".to_owned())
        }
        kube::Error::Auth(auth) => (
            format!("getting credentials: {auth}"),
            "run the credential plugin of this context by hand, or log in to the cluster again".to_owned(),
        ),
        other => {
            let said = deepest(other);
            let hint = if said.contains("certificate") {
                "the kubeconfig does not trust this API server: check its certificate-authority, or the server's address"
            } else {
                "the API server cannot be reached: check the address in your kubeconfig, your network and VPN"
            };
            (said, hint.to_owned())
        }
    };
    with_hint(anyhow!(Explained { said, error }).context(doing), hint)
}

/// The innermost cause says it best ("connection refused"); the outer ones only name layers.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(inner) = last.source() {
        last = inner;
    }
    last.to_string()
}

/// Our words over the error they stand for.
#[derive(Debug)]
struct Explained {
    said: String,
    error: kube::Error,
}

impl std::fmt::Display for Explained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for Explained {}
