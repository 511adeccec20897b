//! `tp helm uninstall`.

use super::{
    history::History,
    manifest::{self, Object},
    release::Status,
    session::{Change, Session},
};
use anyhow::{Context, Result};
use k8s_openapi::jiff::Timestamp;

/// Takes away everything that any recorded revision made, then the records.
pub(crate) async fn uninstall(session: &mut Session<'_>) -> Result<()> {
    let doing = "uninstalling the traffic-manager";
    let history = session.history().await.context(doing)?;
    let Some(last) = history.last().cloned() else {
        session.ui.say(format!(
            "No traffic-manager is installed in namespace {}. Nothing was done.",
            session.namespace
        ));
        session.ui.say("\nhint: if it is in another namespace, name that with -n");
        return Ok(());
    };
    let mut objects: Vec<Object> = Vec::new();
    for release in history.all() {
        for object in manifest::read(&release.manifest).context(doing)? {
            if objects.iter().all(|known| known.place != object.place) {
                objects.push(object);
            }
        }
    }
    manifest::sort(&mut objects);
    let mut changes = Vec::new();
    for object in objects.into_iter().rev() {
        // Only what is still there and still ours: an older revision may have left an object to someone else.
        let live = session.cluster.get(&object.place).await.context(doing)?;
        if live.is_some_and(|live| manifest::not_owned(&live, &session.namespace).is_none()) {
            changes.push(Change::Delete(object.place));
        }
    }
    if session.dry_run {
        return session.show(&changes, "");
    }
    session.ui.say(format!("Uninstalling the traffic-manager from namespace {}", session.namespace));
    let mut leaving = last;
    leaving.info.status = Status::Uninstalling;
    "Deletion in progress (or silently failed)".clone_into(&mut leaving.info.description);
    leaving.info.deleted = Timestamp::now().to_string();
    History::update(&session.cluster, &leaving, Timestamp::now()).await.context(doing)?;
    session.carry_out(&changes).await.context(doing)?;
    history.purge(&session.cluster).await.context(doing)?;
    session
        .ui
        .say(format!("The traffic-manager is gone. The namespace {} is left as it is.", session.namespace));
    Ok(())
}
