//! `tp helm install` and `tp helm upgrade`.

use super::{
    access,
    manifest::{self, Object},
    release::{Release, Status},
    session::Session,
    values::{self, ValueFlags, Values},
};
use crate::report::{Advice, with_hint};
use anyhow::{Context, Result, anyhow};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// Whose values an upgrade starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// Those of the installed revision when no value is given, else the chart's defaults: as helm decides.
    Auto,
    Reuse,
    Reset,
}

pub(crate) async fn install(
    session: &mut Session<'_>,
    flags: &ValueFlags,
    create_namespace: bool,
) -> Result<()> {
    let values = flags.read()?;
    let history = session.history().await.context("installing the traffic-manager")?;
    if let Some(deployed) = history.deployed() {
        let chart = deployed.chart["metadata"]["version"].as_str().unwrap_or("?");
        session.ui.say(format!(
            "The traffic-manager is already installed in namespace {} (chart {chart}, revision {}). Nothing was done.",
            session.namespace, deployed.version
        ));
        session.ui.say("\nhint: to change its version or values: tp helm upgrade");
        return Ok(());
    }
    // An attempt that failed left objects: they are this release's, and the next attempt takes them over.
    let old = match history.last() {
        Some(last) if last.info.status != Status::Uninstalled => {
            must_not_be_running(last)?;
            session
                .ui
                .say(format!("The last attempt (revision {}) did not succeed; trying again.", last.version));
            objects_of(last)?
        }
        _ => Vec::new(),
    };
    let rendered = session.render(&values, &history)?;
    session.ui.say(format!(
        "Installing the traffic-manager {} into namespace {}",
        session.chart.version(),
        session.namespace
    ));
    let doing = "installing the traffic-manager";
    access::check(&session.cluster, &session.namespace, &old, &rendered.objects).await.context(doing)?;
    let changes = session.plan(&old, &rendered.objects).await.context(doing)?;
    session.namespace(create_namespace).await.context(doing)?;
    if session.dry_run {
        return session.show(&changes, &rendered.manifest);
    }
    let release = session.begin(&history, values, &rendered).await.context(doing)?;
    session.finish(&history, release, &changes, &rendered).await.context(doing)?;
    session.ui.say(format!("\n{}", rendered.notes));
    Ok(())
}

pub(crate) async fn upgrade(
    session: &mut Session<'_>,
    flags: &ValueFlags,
    base: Base,
    or_install: bool,
    create_namespace: bool,
) -> Result<()> {
    let doing = "upgrading the traffic-manager";
    let given = flags.read()?;
    let history = session.history().await.context(doing)?;
    let Some(deployed) = history.deployed().cloned() else {
        if or_install {
            return install(session, flags, create_namespace).await;
        }
        let what = format!("no traffic-manager is installed in namespace {}", session.namespace);
        return Err(anyhow!(what).context(doing))
            .hint("install it with `tp helm install`, or name its namespace with -n");
    };
    if let Some(last) = history.last() {
        must_not_be_running(last).context(doing)?;
    }
    let values = match base {
        Base::Reuse => over(deployed.config.clone(), given),
        Base::Auto if flags.is_empty() => deployed.config.clone(),
        Base::Auto | Base::Reset => given,
    };
    let rendered = session.render(&values, &history)?;
    session.ui.say(format!(
        "Upgrading the traffic-manager in namespace {} to {} (revision {})",
        session.namespace,
        session.chart.version(),
        history.next_version()
    ));
    // What a failed upgrade added is also ours to change and to take away.
    let mut old = objects_of(&deployed).context(doing)?;
    for failed in history.all().iter().filter(|release| release.version > deployed.version) {
        let more = objects_of(failed).context(doing)?;
        let unknown: Vec<Object> =
            more.into_iter().filter(|more| old.iter().all(|old| old.place != more.place)).collect();
        old.extend(unknown);
    }
    access::check(&session.cluster, &session.namespace, &old, &rendered.objects).await.context(doing)?;
    let changes = session.plan(&old, &rendered.objects).await.context(doing)?;
    if session.dry_run {
        return session.show(&changes, &rendered.manifest);
    }
    let release = session.begin(&history, values, &rendered).await.context(doing)?;
    let version = release.version;
    session.finish(&history, release, &changes, &rendered).await.context(doing)?;
    session.ui.say(format!("The traffic-manager is upgraded (revision {version})."));
    Ok(())
}

fn objects_of(release: &Release) -> Result<Vec<Object>> {
    manifest::read(&release.manifest)
        .with_context(|| format!("reading revision {} of the release", release.version))
}

fn over(mut values: Values, given: Values) -> Values {
    values::merge(&mut values, given);
    values
}

/// An operation that began less than its longest wait ago may still be going on.
fn must_not_be_running(last: &Release) -> Result<()> {
    let pending =
        matches!(last.info.status, Status::PendingInstall | Status::PendingUpgrade | Status::PendingRollback);
    let began: Option<Timestamp> = last.info.last_deployed.parse().ok();
    let recent =
        began.is_some_and(|began| Timestamp::now().duration_since(began) < SignedDuration::from_mins(10));
    if pending && recent {
        let what = format!(
            "revision {} is {}: someone else is at it, or was interrupted",
            last.version, last.info.status
        );
        let hint = "wait until it ends; one that was interrupted counts as failed after 10 minutes, or take all away with `tp helm uninstall`";
        return Err(with_hint(anyhow!(what), hint));
    }
    Ok(())
}
