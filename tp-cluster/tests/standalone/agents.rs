//! Agents at a manager, and what its clients hear of them.

use tonic::Code;
use tp_core::tunnel::{Frame, StreamInfo};
use tp_proto::manager::agent_info::Mechanism;
use tp_proto::manager::{
    AgentInfo, ClientInfo, DnsAgentResponse, EnsureAgentRequest, LogLevelRequest, RemainRequest,
    ReviewInterceptRequest, SessionInfo, TunnelMetrics,
};

use super::site::{Site, somebody, target};

fn agent(namespace: &str) -> AgentInfo {
    AgentInfo {
        name: "echo".into(),
        namespace: namespace.into(),
        pod_name: "echo-1".into(),
        pod_ip: "10.244.0.7".into(),
        api_port: 4038,
        product: "telepresence".into(),
        version: "2.20.2".into(),
        mechanisms: vec![Mechanism {
            name: "tcp".into(),
            product: "telepresence".into(),
            version: "2.20.2".into(),
        }],
    }
}

#[tokio::test]
async fn what_an_agent_must_say_to_arrive() {
    let Site { mut client, .. } = Site::new().await;
    let session = client.arrive_as_agent(agent("default")).await.unwrap().into_inner();
    assert!(session.session_id.starts_with("agent:"), "{session:?}");
    for incomplete in [
        AgentInfo { name: String::new(), ..agent("default") },
        AgentInfo { namespace: String::new(), ..agent("default") },
        AgentInfo { mechanisms: Vec::new(), ..agent("default") },
        AgentInfo { mechanisms: vec![Mechanism::default()], ..agent("default") },
        AgentInfo::default(),
    ] {
        let refused = client.arrive_as_agent(incomplete).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}

#[tokio::test]
async fn a_client_follows_the_agents_of_its_namespace() {
    let Site { mut client, session, .. } = Site::new().await;
    let mut pods = client.watch_agent_pods(session.clone()).await.unwrap().into_inner();
    let mut all = client.watch_agents(session).await.unwrap().into_inner();
    assert!(pods.message().await.unwrap().unwrap().agents.is_empty());
    assert!(all.message().await.unwrap().unwrap().agents.is_empty());
    client.arrive_as_agent(agent("elsewhere")).await.unwrap();
    assert_eq!(all.message().await.unwrap().unwrap().agents, [agent("elsewhere")]);
    let here = client.arrive_as_agent(agent("default")).await.unwrap().into_inner();
    let seen = pods.message().await.unwrap().unwrap().agents;
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].pod_name.as_str(), seen[0].workload_name.as_str()), ("echo-1", "echo"));
    assert_eq!((&seen[0].pod_ip[..], seen[0].api_port), (&[10, 244, 0, 7][..], 4038));
    client.depart(here).await.unwrap();
    assert!(pods.message().await.unwrap().unwrap().agents.is_empty());
}

#[tokio::test]
async fn an_agent_has_its_four_watches_and_they_end_with_it() {
    let Site { mut client, session: of_client, .. } = Site::new().await;
    let session = client.arrive_as_agent(agent("default")).await.unwrap().into_inner();
    let mut names = client.watch_lookup_dns(session.clone()).await.unwrap().into_inner();
    let mut dials = client.watch_dial(session.clone()).await.unwrap().into_inner();
    let mut levels = client.watch_log_level(()).await.unwrap().into_inner();
    let mut intercepts = client.watch_intercepts(session.clone()).await.unwrap().into_inner();
    assert!(intercepts.message().await.unwrap().unwrap().intercepts.is_empty());
    let level = LogLevelRequest { log_level: "debug".into(), duration: None };
    client.set_log_level(level.clone()).await.unwrap();
    assert_eq!(levels.message().await.unwrap(), Some(level));
    // what an agent says unasked is no error
    client.agent_lookup_dns_response(DnsAgentResponse::default()).await.unwrap();
    client.report_metrics(TunnelMetrics::default()).await.unwrap();
    let review = |session: &SessionInfo| ReviewInterceptRequest {
        session: Some(session.clone()),
        ..Default::default()
    };
    assert_eq!(client.review_intercept(review(&session)).await.unwrap_err().code(), Code::NotFound);
    client.review_intercept(review(&of_client)).await.unwrap();
    let remain = || RemainRequest { session: Some(session.clone()) };
    client.remain(remain()).await.unwrap();
    client.depart(session.clone()).await.unwrap();
    assert!(names.message().await.unwrap().is_none());
    assert!(dials.message().await.unwrap().is_none());
    assert!(intercepts.message().await.unwrap().is_none());
    assert_eq!(client.remain(remain()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(client.watch_lookup_dns(session).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn an_agent_is_ensured_if_it_is_there_and_of_the_clients_namespace() {
    let Site { mut client, session, .. } = Site::new().await;
    let request =
        |session: &SessionInfo| EnsureAgentRequest { session: Some(session.clone()), name: "echo".into() };
    let blue = ClientInfo { namespace: "blue".into(), ..somebody() };
    let blue = client.arrive_as_client(blue).await.unwrap().into_inner();
    client.arrive_as_agent(agent("default")).await.unwrap();
    client.ensure_agent(request(&session)).await.unwrap();
    let none = client.ensure_agent(request(&blue)).await.unwrap_err();
    assert_eq!(none.code(), Code::Internal);
    assert_eq!(
        none.message(),
        "workload echo in namespace blue has no agent, and this manager cannot install one yet"
    );
    let unknown = client.ensure_agent(EnsureAgentRequest::default()).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn an_agents_session_opens_no_door() {
    let site = Site::new().await;
    let (_listener, address) = target().await;
    let mut client = site.client.clone();
    let session = client.arrive_as_agent(agent("default")).await.unwrap().into_inner();
    let mut raw = site.raw().await;
    let info = StreamInfo { session: session.session_id, ..site.info(address) };
    raw.send(Frame::StreamInfo(info)).await;
    raw.expect(&["0202"]).await;
    assert_eq!(raw.status().await.code(), Code::FailedPrecondition);
}
