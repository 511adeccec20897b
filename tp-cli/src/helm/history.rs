//! The revisions of the release, kept as helm keeps them.

use super::{
    chart::RELEASE,
    cluster::Cluster,
    manifest::{Place, SECRET},
    release::{Release, Status},
};
use crate::report::with_hint;
use anyhow::{Result, anyhow};
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};

/// As many as helm keeps.
const KEPT: usize = 10;

/// All revisions in one namespace, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    revisions: Vec<Release>,
}

impl History {
    pub(crate) async fn read(cluster: &Cluster, namespace: &str) -> Result<Self> {
        let labels = format!("owner=helm,name={RELEASE}");
        let mut revisions = Vec::new();
        for secret in cluster.list(SECRET, namespace, &labels).await? {
            let secret: Secret = serde_json::from_value(secret)?;
            let release = Release::from_secret(&secret)?;
            if release.is_traffic_manager() {
                revisions.push(release);
            }
        }
        revisions.sort_by_key(|release| release.version);
        Ok(Self { revisions })
    }

    pub(crate) fn last(&self) -> Option<&Release> {
        self.revisions.last()
    }

    pub(crate) fn all(&self) -> &[Release] {
        &self.revisions
    }

    /// The revision that runs: the newest that was deployed and not taken away again.
    pub(crate) fn deployed(&self) -> Option<&Release> {
        self.revisions.iter().rev().find(|release| release.info.status == Status::Deployed)
    }

    pub(crate) fn next_version(&self) -> u64 {
        self.last().map_or(1, |release| release.version + 1)
    }

    /// Adds a revision.
    pub(crate) async fn create(cluster: &Cluster, release: &Release, now: Timestamp) -> Result<()> {
        let secret = serde_json::to_value(release.to_secret("createdAt", now)?)?;
        if cluster.create(&place(release), &secret).await? {
            return Ok(());
        }
        let what = format!("revision {} of the release appeared while we were at it", release.version);
        Err(with_hint(
            anyhow!(what),
            "someone else is installing at the same time: wait, then look with `helm history`",
        ))
    }

    /// Writes a revision's new state.
    pub(crate) async fn update(cluster: &Cluster, release: &Release, now: Timestamp) -> Result<()> {
        let secret = release.to_secret("modifiedAt", now)?;
        let patch = serde_json::json!({"metadata": {"labels": secret.metadata.labels}, "data": secret.data});
        cluster.patch(&place(release), &patch).await
    }

    /// After `newest` was deployed: the revisions that ran before did so, and the oldest are forgotten.
    pub(crate) async fn supersede(&self, cluster: &Cluster, now: Timestamp) -> Result<()> {
        for release in self.revisions.iter().filter(|release| release.info.status == Status::Deployed) {
            let mut release = release.clone();
            release.info.status = Status::Superseded;
            Self::update(cluster, &release, now).await?;
        }
        let too_many = (self.revisions.len() + 1).saturating_sub(KEPT);
        for release in self.revisions.iter().take(too_many) {
            cluster.delete(&place(release)).await?;
        }
        Ok(())
    }

    /// Forgets every revision.
    pub(crate) async fn purge(&self, cluster: &Cluster) -> Result<()> {
        for release in &self.revisions {
            cluster.delete(&place(release)).await?;
        }
        Ok(())
    }
}

fn place(release: &Release) -> Place {
    Place { kind: SECRET, namespace: release.namespace.clone(), name: release.secret_name() }
}
