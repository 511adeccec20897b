//! A release as helm 3 records it: JSON, gzipped, base64, in a Secret of its own type.

use super::{chart::RELEASE, values::Values};
use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt,
    io::{Read, Write},
};

/// One revision of the release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Release {
    pub(crate) name: String,
    pub(crate) info: Info,
    pub(crate) chart: Value,
    /// What the user set; helm leaves it out or writes null when that is nothing.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(crate) config: Values,
    #[serde(default)]
    pub(crate) manifest: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hooks: Vec<Value>,
    pub(crate) version: u64,
    pub(crate) namespace: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Info {
    pub(crate) first_deployed: String,
    pub(crate) last_deployed: String,
    /// Empty while it is not.
    #[serde(default)]
    pub(crate) deleted: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) status: Status,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) notes: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    Unknown,
    Deployed,
    Uninstalled,
    Superseded,
    Failed,
    Uninstalling,
    PendingInstall,
    PendingUpgrade,
    PendingRollback,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Deployed => "deployed",
            Self::Uninstalled => "uninstalled",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Uninstalling => "uninstalling",
            Self::PendingInstall => "pending-install",
            Self::PendingUpgrade => "pending-upgrade",
            Self::PendingRollback => "pending-rollback",
        })
    }
}

/// The type of Secret helm looks for.
pub(crate) const SECRET_TYPE: &str = "helm.sh/release.v1";

/// A record larger than this is not one of ours: a Secret holds 1 MiB, and text shrinks about tenfold.
const MAX_RECORD: u64 = 64 << 20;

impl Release {
    pub(crate) fn secret_name(&self) -> String {
        format!("sh.helm.release.v1.{}.v{}", self.name, self.version)
    }

    /// The Secret that keeps this revision; `mark` is the label with the time of this change.
    pub(crate) fn to_secret(&self, mark: &str, now: Timestamp) -> Result<Secret> {
        let labels = [
            ("name", self.name.clone()),
            ("owner", "helm".to_owned()),
            ("status", self.info.status.to_string()),
            ("version", self.version.to_string()),
            (mark, now.as_second().to_string()),
        ];
        let labels: BTreeMap<String, String> =
            labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Ok(Secret {
            metadata: ObjectMeta {
                name: Some(self.secret_name()),
                namespace: Some(self.namespace.clone()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE.to_owned()),
            data: Some([("release".to_owned(), ByteString(self.encode()?.into_bytes()))].into()),
            ..Secret::default()
        })
    }

    pub(crate) fn from_secret(secret: &Secret) -> Result<Self> {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        let data = secret.data.as_ref().and_then(|data| data.get("release"));
        let Some(data) = data else { bail!("the Secret {name} has no key `release`") };
        Self::decode(&data.0).with_context(|| format!("reading helm's record {name}"))
    }

    /// Is this the one release that `tp` handles?
    pub(crate) fn is_traffic_manager(&self) -> bool {
        self.name == RELEASE
    }

    fn encode(&self) -> Result<String> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&serde_json::to_vec(self)?)?;
        Ok(BASE64_STANDARD.encode(gzip.finish()?))
    }

    fn decode(data: &[u8]) -> Result<Self> {
        let packed = BASE64_STANDARD.decode(data).context("it is not base64")?;
        let mut json = packed;
        // helm reads records of its first versions, too, which were not gzipped.
        if json.starts_with(&[0x1f, 0x8b, 0x08]) {
            let mut unpacked = Vec::new();
            GzDecoder::new(json.as_slice())
                .take(MAX_RECORD)
                .read_to_end(&mut unpacked)
                .context("it is not gzip")?;
            ensure!((unpacked.len() as u64) < MAX_RECORD, "it is too large");
            json = unpacked;
        }
        serde_json::from_slice(&json).context("it is not a release")
    }
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Values, D::Error> {
    Ok(Option::<Values>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Info, Release, Status};
    use k8s_openapi::jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    fn release() -> Release {
        Release {
            name: "traffic-manager".into(),
            info: Info {
                first_deployed: "2026-01-02T03:04:05Z".into(),
                last_deployed: "2026-01-02T03:04:05Z".into(),
                deleted: String::new(),
                description: "Install complete".into(),
                status: Status::Deployed,
                notes: String::new(),
            },
            chart: json!({"metadata": {"name": "x", "version": "1.0.0"}}),
            config: json!({"a": 1}).as_object().unwrap().clone(),
            manifest: "---\n".into(),
            hooks: Vec::new(),
            version: 3,
            namespace: "ambassador".into(),
        }
    }

    #[test]
    fn the_secret_is_what_helm_looks_for() {
        let secret = release().to_secret("createdAt", Timestamp::from_second(7).unwrap()).unwrap();
        let mut shown = serde_json::to_value(&secret).unwrap();
        shown["data"]["release"] = json!("[base64 of base64 of gzip]");
        insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap(), @r#"
        {
          "apiVersion": "v1",
          "data": {
            "release": "[base64 of base64 of gzip]"
          },
          "kind": "Secret",
          "metadata": {
            "labels": {
              "createdAt": "7",
              "name": "traffic-manager",
              "owner": "helm",
              "status": "deployed",
              "version": "3"
            },
            "name": "sh.helm.release.v1.traffic-manager.v3",
            "namespace": "ambassador"
          },
          "type": "helm.sh/release.v1"
        }
        "#);
        assert_eq!(Release::from_secret(&secret).unwrap(), release());
    }

    #[test]
    fn reads_what_helm_leaves_out() {
        let mut json = serde_json::to_value(release()).unwrap();
        json["config"] = json!(null);
        json["info"].as_object_mut().unwrap().remove("description");
        let read: Release = serde_json::from_value(json).unwrap();
        assert!(read.config.is_empty());
    }

    proptest! {
        #[test]
        fn a_broken_record_is_an_error(data in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..400) {
            let _ = Release::decode(&data);
            let whole = release().encode().unwrap();
            let _ = Release::decode(&whole.as_bytes()[..cut.min(whole.len() - 1)]);
        }
    }
}
