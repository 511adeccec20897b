//! An API server in memory: objects by path, merge patches, label selectors, and the refusals a test asks for.

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

/// The server; clones share its state.
#[derive(Clone, Default)]
pub(super) struct Api {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// Method and beginning of the path that are forbidden.
    forbidden: Vec<(Method, String)>,
    /// The same, but nothing tells beforehand.
    refused: Vec<(Method, String)>,
    /// What a new object's status becomes, by the end of its path's collection.
    status: BTreeMap<String, Value>,
}

impl Api {
    pub(super) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    pub(super) fn forbid(&self, method: Method, path: &str) {
        self.state.lock().unwrap().forbidden.push((method, path.to_owned()));
    }

    pub(super) fn refuse(&self, method: Method, path: &str) {
        self.state.lock().unwrap().refused.push((method, path.to_owned()));
    }

    pub(super) fn allow_all(&self) {
        let mut state = self.state.lock().unwrap();
        state.forbidden.clear();
        state.refused.clear();
    }

    pub(super) fn set_status(&self, collection: &str, status: Value) {
        self.state.lock().unwrap().status.insert(collection.to_owned(), status);
    }

    pub(super) fn put(&self, path: &str, object: Value) {
        self.state.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.state.lock().unwrap().objects.keys().cloned().collect()
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let path = head.uri.path().to_owned();
        let selector = head.uri.query().unwrap_or_default().replace("%3D", "=").replace("%2C", ",");
        let (code, answer) = self.state.lock().unwrap().answer(&head.method, &path, &selector, body);
        let answer = Body::from(answer.to_string().into_bytes());
        Response::builder().status(code).body(answer).unwrap()
    }
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, query: &str, body: Value) -> (StatusCode, Value) {
        if path.ends_with("/selfsubjectaccessreviews") {
            return (
                StatusCode::CREATED,
                json!({"status": {"allowed": self.review(&body["spec"]["resourceAttributes"])}}),
            );
        }
        if self.is_forbidden(method, path) {
            return failure(StatusCode::FORBIDDEN, "Forbidden", "the user cannot do this");
        }
        if self.refused.iter().any(|(m, prefix)| m == method && path.starts_with(prefix)) {
            return failure(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid",
                "admission webhook \"policy.example\" denied the request",
            );
        }
        match *method {
            Method::GET => match self.objects.get(path) {
                Some(object) => (StatusCode::OK, object.clone()),
                // Names in our tests stand one level below a plural, which ends in s.
                None if path.ends_with('s') => (StatusCode::OK, json!({"items": self.list(path, query)})),
                None => failure(StatusCode::NOT_FOUND, "NotFound", "not found"),
            },
            Method::POST => {
                let name = body["metadata"]["name"].as_str().unwrap();
                let place = format!("{path}/{name}");
                if self.objects.contains_key(&place) {
                    return failure(StatusCode::CONFLICT, "AlreadyExists", "already exists");
                }
                let mut body = body;
                if let Some(status) = self.status.get(path.rsplit('/').next().unwrap()) {
                    body["status"] = status.clone();
                }
                self.objects.insert(place, body.clone());
                (StatusCode::CREATED, body)
            }
            Method::PATCH => match self.objects.get_mut(path) {
                Some(object) => {
                    merge(object, &body);
                    (StatusCode::OK, object.clone())
                }
                None => failure(StatusCode::NOT_FOUND, "NotFound", "not found"),
            },
            Method::DELETE => match self.objects.remove(path) {
                Some(object) => (StatusCode::OK, object),
                None => failure(StatusCode::NOT_FOUND, "NotFound", "not found"),
            },
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "unexpected"),
        }
    }

    fn is_forbidden(&self, method: &Method, path: &str) -> bool {
        self.forbidden.iter().any(|(m, prefix)| m == method && path.starts_with(prefix))
    }

    fn review(&self, asked: &Value) -> bool {
        let text = |key: &str| asked[key].as_str().unwrap();
        let method = match text("verb") {
            "get" | "list" => Method::GET,
            "create" => Method::POST,
            "patch" => Method::PATCH,
            _ => Method::DELETE,
        };
        let root = if text("group").is_empty() {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{}/v1", text("group"))
        };
        let inside = if text("namespace").is_empty() {
            String::new()
        } else {
            format!("/namespaces/{}", text("namespace"))
        };
        !self.is_forbidden(&method, &format!("{root}{inside}/{}", text("resource")))
    }

    fn list(&self, path: &str, query: &str) -> Vec<Value> {
        let labels: Vec<(&str, &str)> = query
            .strip_prefix("labelSelector=")
            .unwrap_or_default()
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let inside = |place: &str| place.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let fits =
            |object: &Value| labels.iter().all(|(key, value)| object["metadata"]["labels"][*key] == **value);
        self.objects
            .iter()
            .filter(|(place, object)| inside(place) && fits(object))
            .map(|(_, object)| object.clone())
            .collect()
    }
}

fn failure(code: StatusCode, reason: &str, message: &str) -> (StatusCode, Value) {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code.as_u16()});
    (code, body)
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, change) in patch {
        if change.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut object[key.as_str()], change);
        }
    }
}
