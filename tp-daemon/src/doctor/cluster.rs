//! The way to a manager inside a cluster, one step after the other.

use tp_proto::daemon::connect_request::Target;
use tp_proto::daemon::{ConnectRequest, KubeTarget};

use crate::kube::{self, Examined};

/// A join URL names the way itself.
pub(super) async fn examine(request: &ConnectRequest) -> Examined {
    match &request.target {
        Some(Target::ManagerUrl(_)) => Examined::default(),
        Some(Target::Kube(target)) => kube::examine(target).await,
        None => kube::examine(&KubeTarget::default()).await,
    }
}
