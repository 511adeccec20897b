//! Follows all objects of a kind, and tells when what we need of them has changed.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures_util::StreamExt;
use kube::runtime::watcher::{Error, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// Namespace and name.
type Key = (String, String);

/// Why a kind cannot be followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// This API server does not have the kind.
    Unknown,
    /// RBAC.
    Forbidden,
}

/// Calls `changed` with what `extract` took from each object, first when all are listed, then whenever some of it changes.
/// Returns only if the API server refuses; everything else is tried again.
pub(super) async fn follow<K, T>(
    api: Api<K>,
    extract: impl Fn(&K) -> T,
    mut changed: impl FnMut(&BTreeMap<Key, T>),
) -> Refused
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    T: PartialEq,
{
    let mut stream = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut known = BTreeMap::new();
    let mut listing = BTreeMap::new();
    let mut told = false;
    // the stream never ends
    while let Some(event) = stream.next().await {
        let news = match event {
            Ok(Event::Init) => {
                listing = BTreeMap::new();
                false
            }
            Ok(Event::InitApply(object)) => {
                listing.insert(key(&object), extract(&object));
                false
            }
            Ok(Event::InitDone) => {
                let list = std::mem::take(&mut listing);
                let news = !told || list != known;
                known = list;
                told = true;
                news
            }
            Ok(Event::Apply(object)) => {
                let extracted = extract(&object);
                let key = key(&object);
                let news = known.get(&key) != Some(&extracted);
                if news {
                    known.insert(key, extracted);
                }
                news
            }
            Ok(Event::Delete(object)) => known.remove(&key(&object)).is_some(),
            Err(error) => {
                if let Some(refused) = refused(&error) {
                    return refused;
                }
                tracing::warn!(%error, "a watch broke; trying again");
                false
            }
        };
        if news {
            changed(&known);
        }
    }
    Refused::Unknown
}

fn key(object: &impl ResourceExt) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn refused(error: &Error) -> Option<Refused> {
    let (Error::InitialListFailed(kube::Error::Api(status))
    | Error::WatchStartFailed(kube::Error::Api(status))
    | Error::WatchFailed(kube::Error::Api(status))
    | Error::WatchError(status)) = error
    else {
        return None;
    };
    match status.code {
        403 => Some(Refused::Forbidden),
        404 => Some(Refused::Unknown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::Node;
    use kube::Client;
    use kube::client::Body;
    use tokio::sync::mpsc;

    use super::*;

    /// An API server that lists `list`, then answers watches with one of `watches` each, then says nothing more.
    fn api(list: (u16, String), watches: &[String]) -> Api<Node> {
        let watches = Arc::new(Mutex::new(watches.to_vec()));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (list, watches) = (list.clone(), Arc::clone(&watches));
            async move {
                let is_watch = request.uri().query().is_some_and(|query| query.contains("watch="));
                let (status, body) = if is_watch {
                    let next = watches.lock().unwrap().pop();
                    match next {
                        Some(events) => (200, events),
                        None => std::future::pending().await,
                    }
                } else {
                    list
                };
                Ok::<_, Infallible>(
                    Response::builder().status(status).body(Body::from(body.into_bytes())).unwrap(),
                )
            }
        });
        Api::all(Client::new(service, "default"))
    }

    fn node(name: &str, cidr: &str, heartbeat: u32) -> serde_json::Value {
        serde_json::json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "resourceVersion": heartbeat.to_string()},
            "spec": {"podCIDR": cidr},
        })
    }

    fn list(nodes: &[serde_json::Value]) -> (u16, String) {
        let list = serde_json::json!({
            "apiVersion": "v1", "kind": "NodeList", "metadata": {"resourceVersion": "1"}, "items": nodes,
        });
        (200, list.to_string())
    }

    fn event(kind: &str, object: &serde_json::Value) -> String {
        format!("{}\n", serde_json::json!({"type": kind, "object": object}))
    }

    fn cidr(node: &Node) -> String {
        node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone()).unwrap_or_default()
    }

    #[tokio::test]
    async fn what_is_listed_and_what_changes_is_told_but_no_heartbeat() {
        let (tx, mut told) = mpsc::unbounded_channel();
        let watches = [event("MODIFIED", &node("a", "10.0.0.0/24", 2))
            + &event("ADDED", &node("b", "10.0.1.0/24", 3))
            + &event("DELETED", &node("a", "10.0.0.0/24", 4))];
        let api = api(list(&[node("a", "10.0.0.0/24", 1)]), &watches);
        let following = tokio::spawn(follow(api, cidr, move |nodes| {
            let _ = tx.send(nodes.values().cloned().collect::<Vec<_>>());
        }));
        assert_eq!(told.recv().await.unwrap(), ["10.0.0.0/24"]);
        assert_eq!(told.recv().await.unwrap(), ["10.0.0.0/24", "10.0.1.0/24"]);
        assert_eq!(told.recv().await.unwrap(), ["10.0.1.0/24"]);
        following.abort();
    }

    #[tokio::test]
    async fn nothing_at_all_is_told_too() {
        let (tx, mut told) = mpsc::unbounded_channel();
        let following = tokio::spawn(follow(api(list(&[]), &[]), cidr, move |nodes| {
            let _ = tx.send(nodes.len());
        }));
        assert_eq!(told.recv().await, Some(0));
        following.abort();
    }

    #[tokio::test]
    async fn a_refusal_is_final() {
        for (code, refused) in [(403, Refused::Forbidden), (404, Refused::Unknown)] {
            let status =
                serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code});
            let api = api((code, status.to_string()), &[]);
            assert_eq!(follow(api, cidr, |_| panic!("nothing is known")).await, refused);
        }
    }
}
