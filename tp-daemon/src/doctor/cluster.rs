//! The way to a manager inside a cluster, one step after the other.

use tp_core::doctor::{Check, Verdict};
use tp_proto::daemon::connect_request::Target;
use tp_proto::daemon::{ConnectRequest, KubeTarget};

use crate::kube;

/// Whether there is a way. A join URL names it itself.
pub(super) async fn check(request: &ConnectRequest, checks: &mut Vec<Check>) -> bool {
    let found = match &request.target {
        Some(Target::ManagerUrl(_)) => Vec::new(),
        Some(Target::Kube(target)) => kube::examine(target).await,
        None => kube::examine(&KubeTarget::default()).await,
    };
    let open = found.iter().all(|check| check.verdict != Verdict::Fail);
    checks.extend(found);
    open
}
