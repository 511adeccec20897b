//! Which agents there are, as the manager tells it (`WatchAgentPods`).

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::watch;
use tonic::{Code, Status};
use tp_proto::client::ManagerClient;
use tp_proto::manager::{AgentPodInfo, SessionInfo};
use tp_proto::net::ip_from_wire;

use super::ensure;
use crate::flows;

/// One agent, by where it is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pod {
    pub(super) workload: String,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) ip: IpAddr,
    pub(super) port: u16,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Known {
    NotYet,
    Pods(Vec<Pod>),
    /// The manager does not tell, and never will.
    Nothing(String),
}

/// Waits between attempts: doubled each time, begun anew after a success (facts/telepresence-wire.md §2.1).
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Follows for as long as it is polled, over sessions. `namespace` is that of the workloads.
pub(super) async fn follow(
    client: ManagerClient,
    mut manager: watch::Receiver<Option<flows::Exit>>,
    namespace: String,
    workloads: Vec<String>,
    known: watch::Sender<Known>,
) {
    let mut first = true;
    loop {
        let Ok(session) = manager.wait_for(Option::is_some).await.map(|way| session_of(way.as_ref())) else {
            return;
        };
        let again = async {
            if !std::mem::take(&mut first) {
                ensure::again(&client, &session, &workloads).await;
            }
        };
        let watching = watch_session(client.clone(), &session, &namespace, &known);
        let other = async {
            // an error: the connection has ended, and with it this
            let _ = manager.wait_for(|way| session_of(way.as_ref()) != session).await;
        };
        tokio::select! {
            _ = futures_util::future::join(again, watching) => {}
            () = other => {}
        }
    }
}

/// Never ends: what breaks is tried again.
async fn watch_session(
    mut client: ManagerClient,
    session: &str,
    namespace: &str,
    known: &watch::Sender<Known>,
) {
    let mut wait = FIRST_WAIT;
    loop {
        match watch_once(&mut client, session, namespace, known, &mut wait).await {
            Ok(()) => tracing::debug!("the manager ended its reports of agents"),
            Err(status) if status.code() == Code::Unimplemented => {
                known
                    .send_replace(Known::Nothing("this manager does not tell which agents there are".into()));
                return std::future::pending().await;
            }
            Err(status) => tracing::warn!(%status, "the reports of agents broke off"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

async fn watch_once(
    client: &mut ManagerClient,
    session: &str,
    namespace: &str,
    known: &watch::Sender<Known>,
    wait: &mut Duration,
) -> Result<(), Status> {
    let session = SessionInfo { session_id: session.to_owned(), ..SessionInfo::default() };
    let mut snapshots = client.watch_agent_pods(session).await?.into_inner();
    while let Some(snapshot) = snapshots.message().await? {
        *wait = FIRST_WAIT;
        let pods: Vec<_> = snapshot.agents.iter().filter_map(|pod| from_wire(pod, namespace)).collect();
        tracing::debug!(agents = pods.len(), "agents");
        known.send_if_modified(|known| {
            let now = Known::Pods(pods);
            let changed = *known != now;
            *known = now;
            changed
        });
    }
    Ok(())
}

/// `None` for an agent that cannot be reached, or of another namespace.
fn from_wire(info: &AgentPodInfo, namespace: &str) -> Option<Pod> {
    let port = u16::try_from(info.api_port).ok().filter(|port| *port != 0)?;
    let ip = ip_from_wire(&info.pod_ip)?;
    (info.namespace == namespace && is_name(&info.pod_name)).then(|| Pod {
        workload: info.workload_name.clone(),
        name: info.pod_name.clone(),
        namespace: info.namespace.clone(),
        ip,
        port,
    })
}

/// The characters of a Kubernetes name: it becomes part of a request to the API server, with the user's credentials.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    !name.is_empty() && name.bytes().all(plain) && !name.contains("..")
}

fn session_of(way: Option<&flows::Exit>) -> String {
    way.map(|way| way.session.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_reached_or_is_elsewhere_is_left_out() {
        let good = AgentPodInfo {
            pod_name: "echo-1".into(),
            namespace: "default".into(),
            pod_ip: vec![10, 244, 0, 7].into(),
            api_port: 4038,
            workload_name: "echo".into(),
            intercepted: false,
        };
        assert!(from_wire(&good, "default").is_some_and(|pod| pod.port == 4038));
        assert_eq!(from_wire(&good, "blue"), None);
        for bad in [
            AgentPodInfo { api_port: 0, ..good.clone() },
            AgentPodInfo { api_port: -1, ..good.clone() },
            AgentPodInfo { api_port: 70_000, ..good.clone() },
            AgentPodInfo { pod_ip: Vec::new().into(), ..good.clone() },
            AgentPodInfo { pod_ip: vec![1, 2, 3].into(), ..good.clone() },
            AgentPodInfo { pod_name: "../../../../api/v1/secrets?".into(), ..good.clone() },
            AgentPodInfo { pod_name: "..".into(), ..good.clone() },
        ] {
            assert_eq!(from_wire(&bad, "default"), None, "{bad:?}");
        }
    }
}
