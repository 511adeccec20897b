//! Where flows to virtual addresses leave the cluster's side: the manager, or an agent of a workload (`--proxy-via`).
//!
//! For each workload one agent is kept connected; which one is nobody's business, as long as it is of that workload.

mod ensure;
mod keep;
mod pods;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tp_core::dial::DialError;
use tp_core::routing::Exit;
use tp_proto::client::{ManagerClient, Tunnels};

use crate::failure::Failure;
use crate::flows;
use crate::kube;
use keep::State;

/// For the agents of a session that was made anew.
const BUDGET: Duration = Duration::from_secs(30);
/// Until one of them answers.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// What the exits are made of.
pub struct Start {
    pub client: ManagerClient,
    /// The way to the manager and our session there, while there is one. Followed: a session may be made anew.
    pub manager: watch::Receiver<Option<flows::Exit>>,
    /// How pods are reached by port-forward; `None` without a cluster.
    pub cluster: Option<kube::Pods>,
    /// Of the workloads.
    pub namespace: String,
    /// Those that `--proxy-via` names.
    pub workloads: Vec<String>,
    /// For all of it: agents arrive, and each workload has one that answers (`timeouts.agentArrival`).
    pub arrival: Duration,
}

/// The exits of a connection. Dropping the last clone lets go of the agents.
#[derive(Clone)]
pub struct Exits(Arc<Inner>);

struct Inner {
    manager: watch::Receiver<Option<flows::Exit>>,
    workloads: HashMap<String, Workload>,
    _stop: DropGuard,
}

struct Workload {
    state: watch::Receiver<State>,
    refused: AtomicU64,
}

/// Why a flow has no way out at this moment.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoExit {
    #[error("there is no connection to the manager")]
    ManagerAway,
    #[error("another agent of workload {0} is being connected")]
    Switching(String),
    #[error("workload {workload} has no usable agent: {cause}")]
    NoAgent { workload: String, cause: String },
    #[error("workload {0} is no exit of this connection")]
    Unknown(String),
}

impl NoExit {
    /// What the app is told. What passes soon is met with silence: the kernel sends the SYN again.
    pub fn for_app(&self) -> DialError {
        match self {
            Self::ManagerAway | Self::Switching(_) => DialError::TimedOut,
            Self::NoAgent { .. } | Self::Unknown(_) => DialError::HostUnreachable,
        }
    }
}

/// What `tp status` tells of one workload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkloadStatus {
    pub workload: String,
    /// Pod of the agent in use, and how it is reached.
    pub agent: Option<String>,
    /// Why there is none.
    pub problem: Option<String>,
    /// Flows that found no agent.
    pub refused: u64,
}

impl Exits {
    /// Makes sure that each workload has an agent and that one of them answers.
    pub async fn start(start: Start) -> Result<Self, Failure> {
        let Start { client, manager, cluster, namespace, mut workloads, arrival } = start;
        workloads.sort();
        workloads.dedup();
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        if workloads.is_empty() {
            return Ok(Self(Arc::new(Inner { manager, workloads: HashMap::new(), _stop: guard })));
        }
        ensure::all(&client, manager.clone(), &workloads, Instant::now() + arrival).await?;
        let (known, pods) = watch::channel(pods::Known::NotYet);
        let following = pods::follow(client, manager.clone(), namespace.clone(), workloads.clone(), known);
        spawn(&stop, following);
        let reach = Arc::new(reach::Reach::new(cluster, manager.clone()));
        let kept: HashMap<_, _> = workloads
            .into_iter()
            .map(|workload| {
                let (sender, state) = watch::channel(State::Switching);
                let keeping = keep::keep(workload.clone(), Arc::clone(&reach), pods.clone(), sender);
                spawn(&stop, keeping);
                (workload, Workload { state, refused: AtomicU64::new(0) })
            })
            .collect();
        let deadline = Instant::now() + READY_WITHIN;
        let ready = kept
            .iter()
            .map(|(name, workload)| keep::ready(name, &namespace, workload.state.clone(), deadline));
        join_all(ready).await.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(Self(Arc::new(Inner { manager, workloads: kept, _stop: guard })))
    }

    /// What opens tunnel streams through this exit. Cheap: asked for each flow.
    pub fn tunnels(&self, exit: &Exit) -> Result<Tunnels, NoExit> {
        let name = match exit {
            Exit::Manager => {
                let manager = self.0.manager.borrow();
                return manager.as_ref().map(|way| way.tunnels.clone()).ok_or(NoExit::ManagerAway);
            }
            Exit::Workload(name) => name,
        };
        let workload = self.0.workloads.get(name).ok_or_else(|| NoExit::Unknown(name.clone()))?;
        match &*workload.state.borrow() {
            State::Ready(link) => Ok(link.tunnels.clone()),
            State::Switching => Err(NoExit::Switching(name.clone())),
            State::Away(cause) => {
                workload.refused.fetch_add(1, Ordering::Relaxed);
                Err(NoExit::NoAgent { workload: name.clone(), cause: cause.clone() })
            }
        }
    }

    /// Each workload, by name.
    pub fn status(&self) -> Vec<WorkloadStatus> {
        let status = |(name, workload): (&String, &Workload)| {
            let (agent, problem) = match &*workload.state.borrow() {
                State::Ready(link) => (Some(link.to_string()), None),
                State::Switching => (None, Some("another agent is being connected".to_owned())),
                State::Away(cause) => (None, Some(cause.clone())),
            };
            let refused = workload.refused.load(Ordering::Relaxed);
            WorkloadStatus { workload: name.clone(), agent, problem, refused }
        };
        let mut all: Vec<_> = self.0.workloads.iter().map(status).collect();
        all.sort_by(|one, other| one.workload.cmp(&other.workload));
        all
    }

    /// What the user should know now: one sentence for each workload that is no exit at the moment.
    pub fn notes(&self) -> Vec<String> {
        let note = |status: WorkloadStatus| {
            let WorkloadStatus { workload, problem, refused, .. } = status;
            problem.map(|problem| {
                format!(
                    "workload {workload} has no usable agent: {problem} (flows refused so far: {refused})"
                )
            })
        };
        self.status().into_iter().filter_map(note).collect()
    }
}

impl std::fmt::Debug for Exits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exits").field("status", &self.status()).finish()
    }
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").field("workloads", &self.workloads).finish_non_exhaustive()
    }
}

fn spawn(stop: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled_owned(task).await });
}
