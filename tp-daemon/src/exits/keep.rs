//! Keeps one usable agent of a workload connected.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tp_proto::client::Tunnels;

use super::ensure::failure;
use super::pods::{Known, Pod};
use super::reach::{Greeted, Reach};
use crate::failure::Failure;

#[derive(Clone, Debug)]
pub(super) enum State {
    Ready(Link),
    /// One was lost, or none was tried yet: the next moments decide.
    Switching,
    /// None answers, and why.
    Away(String),
}

/// An agent that answers.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) tunnels: Tunnels,
    pod: String,
    way: &'static str,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pod, self.way)
    }
}

/// An agent that is in use is asked for a word this often, and whenever a connection to it breaks.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// Between rounds in which no agent answered; a change of the agents begins one at once.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// More than a rollout leaves behind, less than a workload of many pods would mind.
const ASKED_AT_ONCE: usize = 4;

/// Keeps for as long as it is polled.
pub(super) async fn keep(
    workload: String,
    reach: Arc<Reach>,
    mut pods: watch::Receiver<Known>,
    state: watch::Sender<State>,
) {
    let mut wait = FIRST_WAIT;
    let mut avoid = None;
    loop {
        let now = of(&workload, &pods.borrow_and_update());
        let greeted = match now {
            Ok(candidates) => first_that_answers(&reach, candidates, avoid.as_ref()).await,
            Err(Some(why)) => Err(why),
            Err(None) => match pods.changed().await {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let why = match greeted {
            Ok((pod, greeted)) => {
                tracing::info!(workload, pod = pod.name, way = greeted.way, "an agent is the exit");
                wait = FIRST_WAIT;
                let link = Link { tunnels: greeted.tunnels.clone(), pod: pod.name.clone(), way: greeted.way };
                state.send_replace(State::Ready(link));
                let why = hold(&workload, &pod, greeted, &mut pods).await;
                tracing::warn!(workload, pod = pod.name, why, "the exit's agent is lost");
                avoid = Some(pod);
                state.send_replace(State::Switching);
                continue;
            }
            Err(why) => why,
        };
        if !matches!(&*state.borrow(), State::Away(_)) {
            tracing::warn!(workload, why, "no agent answers");
        }
        state.send_replace(State::Away(why));
        tokio::select! {
            changed = pods.changed() => match changed {
                Ok(()) => wait = FIRST_WAIT,
                Err(_) => return,
            },
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
        }
    }
}

/// Completes when an agent answers; an error if none has by the deadline, or if none will.
pub(super) async fn ready(
    workload: &str,
    namespace: &str,
    mut state: watch::Receiver<State>,
    deadline: Instant,
) -> Result<(), Failure> {
    let is_ready = |state: &State| matches!(state, State::Ready(_));
    // a keeper goes on for ever: waiting ends by the time alone
    if let Ok(Ok(_)) = tokio::time::timeout_at(deadline, state.wait_for(is_ready)).await {
        return Ok(());
    }
    let why = match &*state.borrow() {
        State::Away(why) => why.clone(),
        _ => "none answered in time".to_owned(),
    };
    Err(failure(
        &format!("connecting to an agent of workload {workload} in namespace {namespace} for --proxy-via"),
        &why,
    ))
}

/// The workload's agents; `Err(None)` if nothing is known yet.
fn of(workload: &str, known: &Known) -> Result<Vec<Pod>, Option<String>> {
    match known {
        Known::NotYet => Err(None),
        Known::Nothing(why) => Err(Some(why.clone())),
        Known::Pods(pods) => Ok(pods.iter().filter(|pod| pod.workload == workload).cloned().collect()),
    }
}

/// Several are asked at a time: the manager goes on telling of agents that are gone, and each of those costs a timeout. The
/// one to avoid comes last: it has just failed.
async fn first_that_answers(
    reach: &Reach,
    mut candidates: Vec<Pod>,
    avoid: Option<&Pod>,
) -> Result<(Pod, Greeted), String> {
    candidates.sort_by_key(|pod| Some(pod) == avoid);
    let greetings = candidates.into_iter().map(|pod| async move {
        let greeted = reach.greet(&pod).await;
        (pod, greeted)
    });
    let mut greetings = pin!(stream::iter(greetings).buffer_unordered(ASKED_AT_ONCE));
    let mut problems = Vec::new();
    while let Some((pod, greeted)) = greetings.next().await {
        match greeted {
            Ok(greeted) => return Ok((pod, greeted)),
            Err(problem) => problems.push(format!("{}: {problem}", pod.name)),
        }
    }
    if problems.is_empty() { Err("the manager knows of none".to_owned()) } else { Err(problems.join("; ")) }
}

/// Completes when the agent is no longer to be used, with the reason.
async fn hold(workload: &str, pod: &Pod, mut agent: Greeted, pods: &mut watch::Receiver<Known>) -> String {
    loop {
        tokio::select! {
            changed = pods.changed() => {
                if changed.is_err() {
                    // nobody follows the agents any more: the connection ends, and with it this
                    return std::future::pending().await;
                }
                let others = of(workload, &pods.borrow_and_update()).unwrap_or_default();
                if others.contains(pod) {
                    continue;
                }
                if !others.is_empty() {
                    return "it has left".to_owned();
                }
                // a manager that was restarted does not know its agents yet: what answers is there
            }
            () = agent.lost.notified() => {}
            () = tokio::time::sleep(ASK_EVERY) => {}
        }
        if let Err(problem) = agent.version().await {
            return problem;
        }
    }
}
