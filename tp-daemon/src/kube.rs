//! The way to a manager inside a cluster: kubeconfig, the manager's Service and pod, a port-forward to it.

mod client;
mod config;
mod examine;
mod find;
mod forward;
mod guess;
mod spdy;
mod websocket;

use std::net::IpAddr;
use std::sync::Arc;

use kube::Client;
use tp_proto::client::Connector;
use tp_proto::daemon::KubeTarget;

use crate::failure::Failure;
use crate::progress::Progress;

pub use config::Loaded;
pub use examine::{Examined, Guess, examine};
pub use forward::Pods;

/// A cluster whose API server answers and whose manager has been found.
pub struct Cluster {
    pub loaded: Loaded,
    pub manager_namespace: String,
    pub connector: Arc<dyn Connector>,
    /// Addresses of the API server: our transport, never to be routed into our own tunnel.
    pub transport: Vec<IpAddr>,
    client: Client,
}

/// What `target` means today: the kubeconfig is read, nobody is asked.
pub async fn resolve(target: &KubeTarget) -> Result<Loaded, Failure> {
    config::load(target).await
}

/// Finds the manager that `target` names. Nothing on the machine is changed.
pub async fn find(target: &KubeTarget, progress: &Progress) -> Result<Cluster, Failure> {
    progress.step("kubeconfig", "reading it");
    let loaded = config::load(target).await?;
    let client = loaded.client()?;
    progress.step("API server", loaded.server.clone());
    let transport = loaded.resolve_server().await;
    find::version(&client, &loaded).await?;
    progress.step("traffic-manager", "looking for it");
    let service = find::service(&client, &loaded, target).await?;
    let manager_namespace = service.namespace.clone();
    let connector = Arc::new(forward::PortForward::new(client.clone(), service));
    Ok(Cluster { loaded, manager_namespace, connector, transport, client })
}

impl Cluster {
    /// The way to any pod.
    pub fn pods(&self) -> Pods {
        Pods::new(self.client.clone())
    }

    /// Names of the namespaces, if we may list them; a manager of ours tells them too, Telepresence's does not.
    pub async fn namespaces(&self) -> Vec<String> {
        find::namespaces(&self.client).await
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("server", &self.loaded.server).finish_non_exhaustive()
    }
}
