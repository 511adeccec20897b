//! What a connect would be told by the manager, for `tp doctor`: a session that ends with its first report.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::mpsc;
use tp_core::cluster::ClusterView;
use tp_core::routing::Routing;
use tp_proto::client::ManagerClient;
use tp_proto::cluster::view_from_wire;
use tp_proto::manager::SessionInfo;

use super::drive::{limited, session_info};
use super::{Options, arrive, way};
use crate::failure::Failure;
use crate::progress::Progress;

/// The manager and the cluster, as it reports it.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Name and version.
    pub manager: String,
    pub view: ClusterView,
    pub routing: Routing,
    /// Addresses that a daemon would talk to.
    pub transport: Vec<IpAddr>,
    /// What is wrong with the configuration that the manager gives to its clients.
    pub notes: Vec<String>,
}

/// Goes the very way of a connect, up to where it would change something here.
pub async fn survey(options: &Options) -> Result<Survey, Failure> {
    let (nobody, _) = mpsc::channel(1);
    let way = way::find(options, &Progress::new(nobody)).await?;
    let timeouts = options.sources.config().timeouts;
    let peer = arrive::greet(&way, &timeouts).await?;
    let mut client = peer.client.clone();
    let info = arrive::client_info(options, &way.namespace);
    let session = limited(timeouts.manager_api, client.arrive_as_client(info)).await.map_err(|status| {
        Failure::new(anyhow!(status.message().to_owned()).context("joining the manager"), way.log_hint())
    })?;
    let session = session_info(session.session_id);
    let report = first_report(&mut client, session.clone(), timeouts.manager_connect).await;
    // one that it does not hear expires there
    let _ = limited(timeouts.manager_api, client.depart(session)).await;
    let view = report.map_err(|error| {
        Failure::new(
            error.context("waiting for the manager's report of the cluster's networks"),
            way.log_hint(),
        )
    })?;
    let settings = options.sources.with_manager(&peer.client_config().await);
    Ok(Survey {
        manager: peer.version().to_owned(),
        routing: settings.config(&view).routing,
        view,
        transport: way.transport.clone(),
        notes: settings.notes().to_vec(),
    })
}

async fn first_report(
    client: &mut ManagerClient,
    session: SessionInfo,
    within: Duration,
) -> anyhow::Result<ClusterView> {
    let report = async {
        let mut reports = client.watch_cluster_info(session).await?.into_inner();
        reports.message().await
    };
    match tokio::time::timeout(within, report).await {
        Ok(Ok(Some(info))) => Ok(view_from_wire(&info)),
        Ok(Ok(None)) => Err(anyhow!("it ended without one")),
        Ok(Err(status)) => Err(anyhow!(status.message().to_owned())),
        Err(_) => Err(anyhow!("no report within {within:?}")),
    }
}
