//! Asks the manager to see to it that a workload has an agent.

use anyhow::anyhow;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Code;
use tp_proto::client::ManagerClient;
use tp_proto::manager::{EnsureAgentRequest, SessionInfo};

use crate::failure::Failure;
use crate::flows;

/// All workloads at once; the error names each one that has no agent.
pub(super) async fn all(
    client: &ManagerClient,
    mut manager: watch::Receiver<Option<flows::Exit>>,
    workloads: &[String],
    deadline: Instant,
) -> Result<(), Failure> {
    let session = match tokio::time::timeout_at(deadline, manager.wait_for(Option::is_some)).await {
        Ok(Ok(way)) => way.as_ref().map(|way| way.session.clone()).unwrap_or_default(),
        _ => return Err(failure("asking for agents", "there is no session with the manager")),
    };
    let asked = workloads.iter().map(|workload| one(client.clone(), session.clone(), workload, deadline));
    let refused: Vec<_> = join_all(asked).await.into_iter().filter_map(Result::err).collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(failure("finding the exits of --proxy-via", &refused.join("; ")))
}

/// Again after the session was made anew: the new manager may have to install what the old one had.
pub(super) async fn again(client: &ManagerClient, session: &str, workloads: &[String]) {
    let deadline = Instant::now() + super::BUDGET;
    let asked = workloads.iter().map(|workload| one(client.clone(), session.to_owned(), workload, deadline));
    for problem in join_all(asked).await.into_iter().filter_map(Result::err) {
        tracing::warn!(problem, "the new session's manager gives no agent");
    }
}

async fn one(
    mut client: ManagerClient,
    session: String,
    workload: &str,
    deadline: Instant,
) -> Result<(), String> {
    let session = SessionInfo { session_id: session, ..SessionInfo::default() };
    let request = EnsureAgentRequest { session: Some(session), name: workload.to_owned() };
    match tokio::time::timeout_at(deadline, client.ensure_agent(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) if status.code() == Code::Unimplemented => {
            Err(format!("workload {workload}: this manager has no agents"))
        }
        Ok(Err(status)) => Err(format!("workload {workload}: {}", status.message())),
        Err(_) => {
            Err(format!("workload {workload}: the manager had no agent in time (timeouts.agentArrival)"))
        }
    }
}

pub(super) fn failure(doing: &str, problem: &str) -> Failure {
    Failure::new(
        anyhow!(problem.to_owned()).context(doing.to_owned()),
        "name a workload whose pods run a traffic-agent, or let the manager be the exit: --vnat in place of --proxy-via, \
         without =WORKLOAD",
    )
}
