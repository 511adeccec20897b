//! What every command of `tp helm` works with, and what they share: the cluster as it is, changes, records.

use super::{
    chart::{Chart, Occasion, RELEASE, Rendered, must_be_ours},
    cluster::{Cluster, is_forbidden},
    history::History,
    manifest::{NAMESPACE, Object, Place, not_owned},
    merge,
    release::{Info, Release, Status},
    rollout,
    ui::Ui,
    values::{self, Values},
};
use crate::report::{Advice, with_hint};
use anyhow::{Result, anyhow};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// One command's surroundings.
pub(crate) struct Session<'a> {
    pub(crate) cluster: Cluster,
    pub(crate) chart: Chart,
    /// Of the manager and of the release.
    pub(crate) namespace: String,
    pub(crate) ui: Ui<'a>,
    /// How long to wait for the manager to run; not at all when there is none.
    pub(crate) wait: Option<Duration>,
    pub(crate) dry_run: bool,
}

/// One thing to do to the cluster.
#[derive(Debug)]
pub(crate) enum Change {
    Create(Object),
    Patch(Place, Value),
    Keep(Place),
    Delete(Place),
}

impl Change {
    fn place(&self) -> &Place {
        match self {
            Self::Create(object) => &object.place,
            Self::Patch(place, _) | Self::Keep(place) | Self::Delete(place) => place,
        }
    }
}

impl Session<'_> {
    pub(crate) async fn history(&self) -> Result<History> {
        let history = History::read(&self.cluster, &self.namespace).await?;
        if let Some(last) = history.last() {
            must_be_ours(&last.chart, &self.namespace)?;
        }
        Ok(history)
    }

    /// The chart with these values, as the next revision after `history`.
    pub(crate) fn render(&mut self, values: &Values, history: &History) -> Result<Rendered> {
        for note in values::not_for_clients(values) {
            self.ui.say(format!("note: {note}"));
        }
        self.chart.render(values, Occasion { namespace: &self.namespace, revision: history.next_version() })
    }

    /// What makes the cluster hold `new` where it holds `old`.
    pub(crate) async fn plan(&self, old: &[Object], new: &[Object]) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        let mut foreign = Vec::new();
        for object in new {
            let before = old.iter().find(|old| old.place == object.place);
            let Some(live) = self.cluster.get(&object.place).await? else {
                changes.push(Change::Create(object.clone()));
                continue;
            };
            if before.is_none()
                && let Some(why) = not_owned(&live, &self.namespace)
            {
                foreign.push(format!("{} ({why})", object.place.title()));
            }
            let before = before.map_or(Value::Null, |before| before.owned_by(&self.namespace));
            changes.push(match merge::patch(&before, &object.owned_by(&self.namespace), &live) {
                Some(patch) => Change::Patch(object.place.clone(), patch),
                None => Change::Keep(object.place.clone()),
            });
        }
        if !foreign.is_empty() {
            let what =
                format!("these objects exist and are not of this release:\n  {}", foreign.join("\n  "));
            return Err(anyhow!(what)).hint(
                "delete them, or let the release have them: give them the label app.kubernetes.io/managed-by=Helm and the \
                 annotations meta.helm.sh/release-name and meta.helm.sh/release-namespace",
            );
        }
        let gone = old.iter().rev().filter(|old| new.iter().all(|new| new.place != old.place));
        changes.extend(gone.map(|old| Change::Delete(old.place.clone())));
        Ok(changes)
    }

    /// Does it, one line each.
    pub(crate) async fn carry_out(&mut self, changes: &[Change]) -> Result<()> {
        for change in changes {
            let word = match change {
                Change::Create(object) => {
                    if !self.cluster.create(&object.place, &object.owned_by(&self.namespace)).await? {
                        let what = format!("{} appeared while we were at it", object.place.title());
                        return Err(with_hint(
                            anyhow!(what),
                            "someone else is installing at the same time: try again",
                        ));
                    }
                    "created"
                }
                Change::Patch(place, patch) => {
                    self.cluster.patch(place, patch).await?;
                    "changed"
                }
                Change::Keep(_) => "unchanged",
                Change::Delete(place) => {
                    self.cluster.delete(place).await?;
                    "deleted"
                }
            };
            self.ui.say(format!("  {word} {}", change.place().title()));
        }
        Ok(())
    }

    /// A dry run's answer: the manifest on stdout, what would be done on stderr.
    pub(crate) fn show(&mut self, changes: &[Change], manifest: &str) -> Result<()> {
        for change in changes {
            let word = match change {
                Change::Create(_) => "would create",
                Change::Patch(..) => "would change",
                Change::Keep(_) => "would leave",
                Change::Delete(_) => "would delete",
            };
            self.ui.say(format!("  {word} {}", change.place().title()));
        }
        self.ui.print(manifest)?;
        self.ui.say("Nothing was done: this was a dry run.");
        Ok(())
    }

    /// Makes sure the namespace is there. Someone who may not look may still be allowed to install into it.
    pub(crate) async fn namespace(&mut self, create: bool) -> Result<()> {
        let place = Place { kind: NAMESPACE, namespace: String::new(), name: self.namespace.clone() };
        match self.cluster.get(&place).await {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(error) if is_forbidden(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        if !create {
            return Err(anyhow!("the namespace {} does not exist", self.namespace))
                .hint("leave out --create-namespace=false, or create it");
        }
        if self.dry_run {
            self.ui.say(format!("  would create {}", place.title()));
            return Ok(());
        }
        let name = &self.namespace;
        // The label is what `helm install --create-namespace` gives it.
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"name": name}}});
        if self.cluster.create(&place, &body).await? {
            self.ui.say(format!("  created {}", place.title()));
        }
        Ok(())
    }

    /// A new revision, recorded as begun.
    pub(crate) async fn begin(
        &self,
        history: &History,
        values: Values,
        rendered: &Rendered,
    ) -> Result<Release> {
        let now = Timestamp::now();
        let first = history.all().first();
        let (status, description) = match history.deployed() {
            None => (Status::PendingInstall, "Initial install underway"),
            Some(_) => (Status::PendingUpgrade, "Preparing upgrade"),
        };
        let release = Release {
            name: RELEASE.to_owned(),
            info: Info {
                first_deployed: first
                    .map_or_else(|| now.to_string(), |first| first.info.first_deployed.clone()),
                last_deployed: now.to_string(),
                deleted: String::new(),
                description: description.to_owned(),
                status,
                notes: rendered.notes.clone(),
            },
            chart: self.chart.record(),
            config: values,
            manifest: rendered.manifest.clone(),
            hooks: Vec::new(),
            version: history.next_version(),
            namespace: self.namespace.clone(),
        };
        History::create(&self.cluster, &release, now).await?;
        Ok(release)
    }

    /// Changes the cluster for a begun revision and records how that went.
    pub(crate) async fn finish(
        &mut self,
        history: &History,
        mut release: Release,
        changes: &[Change],
        rendered: &Rendered,
    ) -> Result<()> {
        let word = if history.deployed().is_some() { "Upgrade" } else { "Install" };
        // An attempt that was interrupted is recorded as failed, so that the next one need not wait for it.
        let result = tokio::select! {
            result = self.deploy(changes, &rendered.objects) => result,
            _ = tokio::signal::ctrl_c() => Err(with_hint(anyhow!("interrupted"), "the same command takes up where this one was")),
        };
        (release.info.status, release.info.description) = match &result {
            Ok(()) => (Status::Deployed, format!("{word} complete")),
            Err(error) => (Status::Failed, format!("{word} failed: {}", root_of(error))),
        };
        let now = Timestamp::now();
        if result.is_ok() {
            // First the old: two revisions that both say "deployed" would confuse helm, none does not.
            history.supersede(&self.cluster, now).await?;
        }
        let recorded = History::update(&self.cluster, &release, now).await;
        result.and(recorded)
    }

    async fn deploy(&mut self, changes: &[Change], objects: &[Object]) -> Result<()> {
        self.carry_out(changes).await?;
        let Some(limit) = self.wait else { return Ok(()) };
        for object in objects.iter().filter(|object| object.is_deployment()) {
            rollout::wait(&self.cluster, &object.place, limit, &mut self.ui).await?;
        }
        Ok(())
    }
}

fn root_of(error: &anyhow::Error) -> String {
    let text = crate::report::text(error);
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
