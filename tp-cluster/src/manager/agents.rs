//! Agents: what they say when they arrive, and what clients are told of them (facts/telepresence-wire.md §2.3).

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tonic::Status;
use tp_core::addr::ip_to_bytes;
use tp_core::sessions::{Agent, Mechanism};
use tp_proto::manager as wire;

/// Every agent there is, sorted.
pub(super) type Agents = watch::Receiver<Vec<Agent>>;

/// How long a client waits for an agent that is not there. One that lost its manager comes back after at least 5 s.
const ARRIVAL: Duration = Duration::from_secs(6);

/// An address or a port that is none does not keep an agent out: it is useless to clients, not harmful.
pub(super) fn from_wire(info: wire::AgentInfo) -> Agent {
    let mechanism =
        |m: wire::agent_info::Mechanism| Mechanism { name: m.name, product: m.product, version: m.version };
    Agent {
        namespace: info.namespace,
        workload: info.name,
        pod_name: info.pod_name,
        pod_ip: info.pod_ip.parse().ok(),
        api_port: u16::try_from(info.api_port).unwrap_or_default(),
        product: info.product,
        version: info.version,
        mechanisms: info.mechanisms.into_iter().map(mechanism).collect(),
    }
}

/// Waits until the workload has an agent, which may be on its way.
pub(super) async fn ensure(mut agents: Agents, namespace: &str, workload: &str) -> Result<(), Status> {
    let is_of = |agent: &Agent| agent.namespace == namespace && agent.workload == workload;
    let arrival = agents.wait_for(|agents| agents.iter().any(is_of));
    match tokio::time::timeout(ARRIVAL, arrival).await {
        Ok(Ok(_)) => Ok(()),
        // what Telepresence's manager answers for every reason but an unknown session
        _ => Err(Status::internal(format!(
            "workload {workload} in namespace {namespace} has no agent, and this manager cannot install one yet"
        ))),
    }
}

/// What `view` makes of the agents: at once, even if it is empty, then whenever it changes.
pub(super) fn snapshots<T>(
    mut agents: Agents,
    view: impl Fn(&[Agent]) -> T + Send + 'static,
) -> impl Stream<Item = Result<T, Status>> + Send + 'static
where
    T: Clone + PartialEq + Send + Sync + 'static,
{
    agents.mark_changed();
    stream::unfold((agents, view, None), async |(mut agents, view, last)| {
        loop {
            if agents.changed().await.is_err() {
                return None;
            }
            let now = view(&agents.borrow_and_update());
            if last.as_ref() != Some(&now) {
                return Some((Ok(now.clone()), (agents, view, Some(now))));
            }
        }
    })
}

/// The agents of a namespace that can be reached. There are no intercepts yet, so none is intercepted.
pub(super) fn pods(agents: &[Agent], namespace: &str) -> wire::AgentPodInfoSnapshot {
    let pod = |agent: &Agent| {
        let (ip, port) = agent.api()?;
        Some(wire::AgentPodInfo {
            pod_name: agent.pod_name.clone(),
            namespace: agent.namespace.clone(),
            pod_ip: Bytes::from(ip_to_bytes(ip)),
            api_port: port.into(),
            intercepted: false,
            workload_name: agent.workload.clone(),
        })
    };
    let here = agents.iter().filter(|agent| agent.namespace == namespace);
    wire::AgentPodInfoSnapshot { agents: here.filter_map(pod).collect() }
}

/// All agents of all namespaces.
pub(super) fn infos(agents: &[Agent]) -> wire::AgentInfoSnapshot {
    let mechanism = |m: &Mechanism| wire::agent_info::Mechanism {
        name: m.name.clone(),
        product: m.product.clone(),
        version: m.version.clone(),
    };
    let info = |agent: &Agent| wire::AgentInfo {
        name: agent.workload.clone(),
        namespace: agent.namespace.clone(),
        pod_name: agent.pod_name.clone(),
        pod_ip: agent.pod_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        api_port: agent.api_port.into(),
        product: agent.product.clone(),
        version: agent.version.clone(),
        mechanisms: agent.mechanisms.iter().map(mechanism).collect(),
    };
    wire::AgentInfoSnapshot { agents: agents.iter().map(info).collect() }
}

/// The log level that a client last asked for: the manager's own is set elsewhere, the agents hear of it here.
#[derive(Debug, Default)]
pub(super) struct LogLevels(watch::Sender<Option<(wire::LogLevelRequest, Instant)>>);

impl LogLevels {
    pub(super) fn set(&self, request: wire::LogLevelRequest) {
        self.0.send_replace(Some((request, Instant::now())));
    }

    /// Every change; first the level of now, if it is one that will pass.
    pub(super) fn subscribe(
        &self,
    ) -> impl Stream<Item = Result<wire::LogLevelRequest, Status>> + Send + use<> {
        let mut levels = self.0.subscribe();
        let now = levels.borrow_and_update().clone().and_then(|(request, since)| remaining(request, since));
        let changes = stream::unfold(levels, async |mut levels| {
            levels.changed().await.ok()?;
            let now = levels.borrow_and_update().clone();
            Some((now.map(|(request, _)| request), levels))
        });
        stream::iter(now).chain(changes.filter_map(std::future::ready)).map(Ok)
    }
}

fn remaining(request: wire::LogLevelRequest, since: Instant) -> Option<wire::LogLevelRequest> {
    let whole = Duration::try_from(request.duration?).ok()?;
    let left = whole.checked_sub(since.elapsed()).filter(|left| !left.is_zero())?;
    Some(wire::LogLevelRequest { duration: Some(left.try_into().ok()?), ..request })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    fn agent(namespace: &str, workload: &str, ip: &str) -> Agent {
        let mechanism = wire::agent_info::Mechanism { name: "tcp".into(), ..Default::default() };
        from_wire(wire::AgentInfo {
            name: workload.into(),
            namespace: namespace.into(),
            pod_name: format!("{workload}-1"),
            pod_ip: ip.into(),
            api_port: 4038,
            mechanisms: vec![mechanism],
            ..wire::AgentInfo::default()
        })
    }

    #[test]
    fn a_client_sees_the_agents_of_its_namespace_that_it_can_reach() {
        let agents = [
            agent("blue", "echo", "10.0.0.1"),
            agent("default", "echo", "10.0.0.2"),
            agent("default", "lost", "nowhere"),
            agent("default", "six", "fd00::2"),
        ];
        let seen = pods(&agents, "default").agents;
        let seen: Vec<_> = seen.iter().map(|pod| (pod.workload_name.as_str(), pod.pod_ip.len())).collect();
        assert_eq!(seen, [("echo", 4), ("six", 16)]);
        assert_eq!(pods(&agents, "red").agents, []);
        assert_eq!(infos(&agents).agents.len(), 4);
    }

    #[tokio::test]
    async fn the_first_snapshot_comes_at_once_and_what_does_not_concern_is_no_news() {
        let (agents, receiver) = watch::channel(Vec::new());
        let mut told = Box::pin(snapshots(receiver, |agents| pods(agents, "default")));
        assert_eq!(told.next().await.unwrap().unwrap().agents, []);
        agents.send_replace(vec![agent("blue", "echo", "10.0.0.1")]);
        let silence = tokio::time::timeout(Duration::from_millis(20), told.next());
        assert!(silence.await.is_err());
        agents.send_replace(vec![agent("default", "echo", "10.0.0.2")]);
        assert_eq!(told.next().await.unwrap().unwrap().agents.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_is_on_its_way_is_waited_for_and_another_is_not_taken() {
        let (agents, receiver) = watch::channel(vec![agent("blue", "echo", "10.0.0.1")]);
        let missing = ensure(receiver.clone(), "default", "echo").await.unwrap_err();
        assert!(missing.message().contains("workload echo in namespace default"), "{missing}");
        let waiting = tokio::spawn(async move { ensure(receiver, "default", "echo").await });
        tokio::time::sleep(Duration::from_secs(5)).await;
        agents.send_replace(vec![agent("default", "echo", "10.0.0.2")]);
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_log_level_that_stays_is_told_as_it_changes_only() {
        let levels = LogLevels::default();
        let level = |name: &str, seconds: Option<i64>| wire::LogLevelRequest {
            log_level: name.into(),
            duration: seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        };
        levels.set(level("debug", None));
        let mut told = Box::pin(levels.subscribe());
        levels.set(level("trace", Some(3600)));
        assert_eq!(told.next().await.unwrap().unwrap().log_level, "trace");
        let late = Box::pin(levels.subscribe()).next().now_or_never().flatten().unwrap().unwrap();
        assert!(late.log_level == "trace" && late.duration.is_some_and(|left| left.seconds > 3000));
    }

    proptest! {
        /// Whatever an agent says becomes a snapshot that every client can read.
        #[test]
        fn total(ip in ".{0,20}", port: i32, name in ".{0,8}") {
            let agent = from_wire(wire::AgentInfo {
                name, namespace: "n".into(), pod_ip: ip, api_port: port, ..wire::AgentInfo::default()
            });
            for pod in pods(&[agent], "n").agents {
                prop_assert!(matches!(pod.pod_ip.len(), 4 | 16) && (1..=65_535).contains(&pod.api_port));
            }
        }
    }
}
