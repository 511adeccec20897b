//! The way to the manager: through a cluster's API server, or by a join URL.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::anyhow;
use tp_proto::client::{Auth, Connector};

use super::{Options, Progress, Target};
use crate::direct::Direct;
use crate::failure::Failure;
use crate::kube;

/// The way to the manager, found but not yet used.
pub(super) struct Way {
    pub(super) connector: Arc<dyn Connector>,
    pub(super) auth: Auth,
    pub(super) transport: Vec<IpAddr>,
    pub(super) context: String,
    pub(super) server: String,
    pub(super) namespace: String,
    pub(super) manager_namespace: String,
    pub(super) cluster: Option<kube::Cluster>,
}

impl Way {
    /// Where a manager says why it does not do what it should.
    pub(super) fn log_hint(&self) -> String {
        match self.manager_namespace.as_str() {
            "" => "see the manager's log".to_owned(),
            namespace => format!("see its log: `kubectl -n {namespace} logs deploy/traffic-manager`"),
        }
    }
}

pub(super) async fn find(options: &Options, progress: &Progress) -> Result<Way, Failure> {
    match &options.target {
        Target::Kube(target) => {
            let cluster = kube::find(target, progress).await?;
            let namespace = options.namespace.clone().unwrap_or_else(|| cluster.loaded.namespace.clone());
            Ok(Way {
                connector: Arc::clone(&cluster.connector),
                auth: Auth::default(),
                transport: cluster.transport.clone(),
                context: cluster.loaded.context.clone(),
                server: cluster.loaded.server.clone(),
                namespace,
                manager_namespace: cluster.manager_namespace.clone(),
                cluster: Some(cluster),
            })
        }
        Target::Direct(url) => {
            let direct = Direct::new(url).await?;
            let auth = match &url.token {
                None => Auth::default(),
                Some(token) => Auth::bearer(token).ok_or_else(|| {
                    Failure::new(
                        anyhow!("the token cannot be sent"),
                        "copy the join URL again from the manager",
                    )
                })?,
            };
            Ok(Way {
                transport: direct.transport(),
                connector: Arc::new(direct),
                auth,
                context: String::new(),
                server: url.address(),
                namespace: options.namespace.clone().unwrap_or_else(|| "default".to_owned()),
                manager_namespace: String::new(),
                cluster: None,
            })
        }
    }
}
