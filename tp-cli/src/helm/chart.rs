//! The chart: the very files of tp-cluster/chart, built into `tp`, and what they become with a user's values.

use super::{
    manifest::{self, Object},
    template::Templates,
    values::{self, Values},
    yaml,
};
use crate::report::Advice;
use anyhow::{Context, Result, anyhow};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

/// The one name a release of the chart may have: clients look for it.
pub(crate) const RELEASE: &str = "traffic-manager";

/// A chart file and its text.
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tp-cluster/chart/", $name)))),*]
    };
}

/// Every file of the chart directory; a test compares it with the directory.
const FILES: &[(&str, &str)] = files![
    "Chart.yaml",
    "values.schema.json",
    "values.yaml",
    "templates/NOTES.txt",
    "templates/_env.tpl",
    "templates/_helpers.tpl",
    "templates/client-rbac-connect.yaml",
    "templates/configmap.yaml",
    "templates/deployment.yaml",
    "templates/manager-rbac-cluster.yaml",
    "templates/manager-rbac-namespace.yaml",
    "templates/manager-rbac-namespaced.yaml",
    "templates/service.yaml",
    "templates/serviceaccount.yaml",
];

/// The chart, parsed.
#[derive(Debug)]
pub(crate) struct Chart {
    metadata: Map<String, Value>,
    defaults: Values,
    schema: Value,
    templates: Templates,
}

/// What one rendering gives.
#[derive(Debug)]
pub(crate) struct Rendered {
    /// All objects as one YAML text, in the order of installation, as a release records it.
    pub(crate) manifest: String,
    pub(crate) objects: Vec<Object>,
    /// What to tell the user.
    pub(crate) notes: String,
}

/// Where and why the chart is rendered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occasion<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) revision: u64,
}

/// The chart's default values, with their comments.
pub(crate) fn default_values() -> &'static str {
    file("values.yaml")
}

impl Chart {
    /// Parses the built-in files. It fails only when `tp` was built with a broken chart.
    pub(crate) fn load() -> Result<Self> {
        let mut templates = Templates::default();
        for (name, text) in FILES.iter().filter(|(name, _)| name.starts_with("templates/")) {
            templates.add(name, text).context("reading the chart")?;
        }
        Ok(Self {
            metadata: yaml::map(file("Chart.yaml")).context("reading Chart.yaml")?,
            defaults: yaml::map(default_values()).context("reading values.yaml")?,
            schema: serde_json::from_str(file("values.schema.json")).context("reading values.schema.json")?,
            templates,
        })
    }

    /// Name and version, as `helm list` shows them.
    pub(crate) fn name(&self) -> &str {
        self.text("name")
    }

    pub(crate) fn version(&self) -> &str {
        self.text("version")
    }

    /// The objects for these values.
    pub(crate) fn render(&self, user: &Values, occasion: Occasion<'_>) -> Result<Rendered> {
        let all = values::coalesce(user, &self.defaults);
        let all = Value::Object(all);
        let wrong = values::check(&all, &self.schema);
        if !wrong.is_empty() {
            return Err(anyhow!("these values do not fit the chart:\n  {}", wrong.join("\n  ")))
                .hint("see every value and its meaning: tp helm values");
        }
        let dot = self.dot(&all, occasion);
        let mut documents = Vec::new();
        for (name, _) in FILES.iter().filter(|(name, _)| is_manifest(name)) {
            let text = self.templates.render(name, &dot).map_err(|error| match error.refusal {
                true => anyhow!("{}", error.what),
                false => anyhow!(error).context("rendering the chart"),
            });
            let text = text.hint("see every value and its meaning: tp helm values")?;
            documents.extend(manifest::split(name, &text)?);
        }
        manifest::sort(&mut documents);
        let notes = self.templates.render("templates/NOTES.txt", &dot).context("rendering the chart")?;
        let manifest = manifest::join(self.name(), &documents);
        Ok(Rendered { manifest, objects: documents, notes: notes.trim().to_owned() })
    }

    /// The chart as a release records it: helm reads it back for `helm get` and `helm rollback`.
    pub(crate) fn record(&self) -> Value {
        let encoded = |text: &str| BASE64_STANDARD.encode(text);
        let templates: Vec<Value> = FILES
            .iter()
            .filter(|(name, _)| name.starts_with("templates/"))
            .map(|(name, text)| json!({"name": name, "data": encoded(text)}))
            .collect();
        json!({
            "metadata": self.metadata,
            "lock": null,
            "templates": templates,
            "values": self.defaults,
            "schema": encoded(file("values.schema.json")),
            "files": [],
        })
    }

    fn text(&self, key: &str) -> &str {
        self.metadata.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn dot(&self, values: &Value, occasion: Occasion<'_>) -> Value {
        json!({
            "Values": values,
            "Chart": {"Name": self.name(), "Version": self.version(), "AppVersion": self.text("appVersion")},
            "Release": {
                "Name": RELEASE,
                "Namespace": occasion.namespace,
                "Service": "Helm",
                "Revision": occasion.revision,
                "IsInstall": occasion.revision == 1,
                "IsUpgrade": occasion.revision != 1,
            },
        })
    }
}

fn is_manifest(name: &str) -> bool {
    name.strip_prefix("templates/").is_some_and(|name| name.ends_with(".yaml"))
}

fn file(name: &str) -> &'static str {
    FILES.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text)
}

/// A release of this name that another chart made (Telepresence's, most likely) is not ours to change.
pub(crate) fn must_be_ours(chart: &Value, namespace: &str) -> Result<()> {
    let metadata = &chart["metadata"];
    let text = |key: &str| metadata[key].as_str().unwrap_or("?");
    if text("name") == Chart::load()?.name() {
        return Ok(());
    }
    let (name, version) = (text("name"), text("version"));
    if name.starts_with("telepresence") {
        let what =
            format!("namespace {namespace} holds Telepresence's traffic-manager (chart {name}-{version})");
        return Err(anyhow!(what)).hint(
            "`tp connect` works with it as it is; to replace it, remove it first: telepresence helm uninstall",
        );
    }
    let what =
        format!("the release {RELEASE} in namespace {namespace} is of another chart, {name}-{version}");
    Err(anyhow!(what)).hint(format!(
        "choose another namespace with -n, or remove it: helm uninstall -n {namespace} {RELEASE}"
    ))
}

#[cfg(test)]
mod tests;
