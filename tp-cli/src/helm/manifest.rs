//! Rendered text to objects, and the order helm creates and deletes them in.

use super::{chart::RELEASE, yaml};
use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

/// One object of the chart, as rendered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    pub(crate) place: Place,
    pub(crate) body: Value,
    /// The template it comes from and its text there.
    source: String,
    text: String,
}

/// Which object in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: &'static Kind,
    /// Empty for a cluster-wide object.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A kind of object that `tp helm` handles.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) namespaced: bool,
}

/// Helm's own kinds, not the chart's.
pub(crate) const NAMESPACE: &Kind = &kind("Namespace", "", "v1", "namespaces", false);
pub(crate) const POD: &Kind = &kind("Pod", "", "v1", "pods", true);
pub(crate) static SECRET: &Kind = &KINDS[1];
pub(crate) static DEPLOYMENT: &Kind = &KINDS[8];

/// What the chart may hold, in the order of installation, which is helm's.
static KINDS: [Kind; 9] = [
    kind("ServiceAccount", "", "v1", "serviceaccounts", true),
    kind("Secret", "", "v1", "secrets", true),
    kind("ConfigMap", "", "v1", "configmaps", true),
    kind("ClusterRole", RBAC, "v1", "clusterroles", false),
    kind("ClusterRoleBinding", RBAC, "v1", "clusterrolebindings", false),
    kind("Role", RBAC, "v1", "roles", true),
    kind("RoleBinding", RBAC, "v1", "rolebindings", true),
    kind("Service", "", "v1", "services", true),
    kind("Deployment", "apps", "v1", "deployments", true),
];

const RBAC: &str = "rbac.authorization.k8s.io";

const fn kind(
    name: &'static str,
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    namespaced: bool,
) -> Kind {
    Kind { name, group, version, plural, namespaced }
}

impl Kind {
    /// `deployments.apps`, as RBAC and kubectl name it.
    pub(crate) fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    fn rank(&self) -> usize {
        KINDS.iter().position(|known| known == self).unwrap_or(KINDS.len())
    }
}

impl Place {
    /// For messages: `Role ambassador/traffic-manager`.
    pub(crate) fn title(&self) -> String {
        match self.namespace.as_str() {
            "" => format!("{} {}", self.kind.name, self.name),
            namespace => format!("{} {namespace}/{}", self.kind.name, self.name),
        }
    }
}

impl Object {
    pub(crate) fn is_deployment(&self) -> bool {
        self.place.kind == DEPLOYMENT
    }

    /// The body with the marks by which helm knows an object of a release again.
    pub(crate) fn owned_by(&self, namespace: &str) -> Value {
        let mut body = self.body.clone();
        body["metadata"]["labels"][MANAGED_BY] = json!("Helm");
        body["metadata"]["annotations"][RELEASE_NAME] = json!(RELEASE);
        body["metadata"]["annotations"][RELEASE_NAMESPACE] = json!(namespace);
        body
    }
}

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const RELEASE_NAME: &str = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// Why an object in the cluster is not of the release in that namespace; nothing when it is.
pub(crate) fn not_owned(live: &Value, namespace: &str) -> Option<String> {
    let metadata = &live["metadata"];
    let marks = [
        (&metadata["labels"], MANAGED_BY, "Helm"),
        (&metadata["annotations"], RELEASE_NAME, RELEASE),
        (&metadata["annotations"], RELEASE_NAMESPACE, namespace),
    ];
    let wrong = marks.into_iter().find(|(map, key, expected)| map[*key] != **expected)?;
    let (map, key, expected) = wrong;
    Some(match map[key].as_str() {
        Some(other) => format!("its {key} is {other}, not {expected}"),
        None => format!("it has no {key}"),
    })
}

/// The objects of one rendered template.
pub(crate) fn split(source: &str, text: &str) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    let mut current = String::new();
    for line in text.lines().chain(["---"]) {
        if !(line == "---" || line.starts_with("--- ")) {
            current.push_str(line);
            current.push('\n');
            continue;
        }
        let document = std::mem::take(&mut current);
        let mut parsed = yaml::documents(&document)
            .with_context(|| format!("reading what {source} makes:\n{document}"))?;
        if let Some(body) = parsed.pop() {
            objects.push(object(source, document.trim().to_owned(), body)?);
        }
    }
    Ok(objects)
}

/// The objects of a whole manifest as a release records it.
pub(crate) fn read(manifest: &str) -> Result<Vec<Object>> {
    split("the recorded release", manifest)
}

/// helm's order of installation; objects of one kind stay as they are.
pub(crate) fn sort(objects: &mut [Object]) {
    objects.sort_by_key(|object| object.place.kind.rank());
}

/// The text that a release records and `tp helm template` prints.
pub(crate) fn join(chart: &str, objects: &[Object]) -> String {
    let documents =
        objects.iter().map(|object| format!("---\n# Source: {chart}/{}\n{}\n", object.source, object.text));
    documents.collect()
}

fn object(source: &str, text: String, body: Value) -> Result<Object> {
    let field = |value: &Value, what: &str| {
        value.as_str().map(str::to_owned).ok_or_else(|| anyhow!("an object of {source} has no {what}"))
    };
    let kind_name = field(&body["kind"], "kind")?;
    let api_version = field(&body["apiVersion"], "apiVersion")?;
    let name = field(&body["metadata"]["name"], "metadata.name")?;
    let known = KINDS.iter().find(|kind| kind.name == kind_name && kind.api_version() == api_version);
    let kind = known
        .ok_or_else(|| anyhow!("{source} holds a {kind_name} ({api_version}), which tp does not install"))?;
    let namespace = if kind.namespaced {
        field(&body["metadata"]["namespace"], "metadata.namespace")?
    } else {
        String::new()
    };
    Ok(Object { place: Place { kind, namespace, name }, body, source: source.to_owned(), text })
}
