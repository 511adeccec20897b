//! The namespaces, so that a client knows that `echo.blue` is a name of the cluster.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};

use super::follow::follow;
use super::{Report, Surroundings};

/// The right may be given later.
const RETRY: Duration = Duration::from_secs(600);

pub(super) async fn run(client: Client, around: Surroundings, report: Report) {
    if !around.managed_namespaces.is_empty() {
        report.send_modify(|parts| parts.namespaces = Some(around.managed_namespaces));
        return;
    }
    loop {
        let refused = follow(
            Api::<Namespace>::all(client.clone()),
            |_| (),
            |namespaces| {
                let names = namespaces.keys().map(|(_, name)| name.clone()).collect();
                report.send_modify(|parts| parts.namespaces = Some(names));
            },
        )
        .await;
        tracing::info!(?refused, "clients are not told the namespaces");
        report.send_modify(|parts| parts.namespaces = parts.namespaces.take().or(Some(Vec::new())));
        tokio::time::sleep(RETRY).await;
    }
}
