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
