//! Sessions, watches, and the end of a manager.

use tokio_stream::StreamExt;
use tonic::Code;
use tp_core::flow::Proto;
use tp_core::tunnel::Frame;
use tp_proto::manager::{ClientInfo, DnsRequest, RemainRequest};

use super::site::{Site, somebody, target};

#[tokio::test]
async fn arrive_remain_depart() {
    let Site { mut client, session, .. } = Site::new().await;
    assert_eq!(session.session_id.len(), 36);
    assert_eq!(session.install_id.as_deref(), Some(&*somebody().install_id));
    let remain = || RemainRequest { session: Some(session.clone()) };
    client.remain(remain()).await.unwrap();
    client.depart(session.clone()).await.unwrap();
    assert_eq!(client.remain(remain()).await.unwrap_err().code(), Code::NotFound);
    // never fails
    client.depart(session.clone()).await.unwrap();
    assert_eq!(client.remain(RemainRequest::default()).await.unwrap_err().code(), Code::NotFound);
    let nameless = ClientInfo { name: String::new(), ..somebody() };
    assert_eq!(client.arrive_as_client(nameless).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_a_telepresence_client_asks_on_connect() {
    let Site { mut client, session, .. } = Site::new().await;
    let version = client.version(()).await.unwrap().into_inner();
    assert!(version.name.starts_with("OSS "));
    semver::Version::parse(version.version.trim_start_matches('v')).unwrap();
    let kinds = client.get_known_workload_kinds(session.clone()).await.unwrap().into_inner();
    assert_eq!(kinds.kinds, [1, 2, 3]);
    assert!(client.get_client_config(()).await.unwrap().into_inner().config_yaml.is_empty());
    // a snapshot at once, even an empty one
    let mut pods = client.watch_agent_pods(session.clone()).await.unwrap().into_inner();
    assert!(pods.message().await.unwrap().unwrap().agents.is_empty());
    let mut intercepts = client.watch_intercepts(session.clone()).await.unwrap().into_inner();
    assert!(intercepts.message().await.unwrap().unwrap().intercepts.is_empty());
    let mut dials = client.watch_dial(session.clone()).await.unwrap().into_inner();
    // all of them end with the session
    client.depart(session.clone()).await.unwrap();
    assert!(pods.message().await.unwrap().is_none());
    assert!(intercepts.message().await.unwrap().is_none());
    assert!(dials.message().await.unwrap().is_none());
    assert_eq!(client.watch_agent_pods(session).await.unwrap_err().code(), Code::NotFound);
    let lookup = client.lookup_dns(DnsRequest::default()).await;
    assert_eq!(lookup.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn the_client_configuration_follows_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("client.yaml");
    let Site { mut client, .. } = Site::with(&format!("--client-config {}", file.display())).await;
    for yaml in ["", "timeouts: {}\n", "timeouts: {helm: 1s}\n"] {
        if !yaml.is_empty() {
            std::fs::write(&file, yaml).unwrap();
        }
        let config = client.get_client_config(()).await.unwrap().into_inner();
        assert_eq!(config.config_yaml, yaml.as_bytes());
    }
}

#[tokio::test]
async fn the_cluster_as_a_client_hears_of_it() {
    let flags = "--also-proxy 192.0.2.0/24 --never-proxy 10.9.0.0/16 --dns-exclude-suffixes .com \
                 --node-address 192.168.49.2 --node-address fd00::2";
    let Site { mut client, session, running, .. } = Site::with(flags).await;
    let mut infos = client.watch_cluster_info(session).await.unwrap().into_inner();
    let info = infos.message().await.unwrap().unwrap();
    let routing = info.routing.unwrap();
    assert_eq!(info.pod_subnets.len(), 2);
    assert_eq!(info.pod_subnets[0].ip.len(), 4);
    assert_eq!((routing.also_proxy_subnets.len(), routing.never_proxy_subnets.len()), (1, 1));
    let dns = info.dns.unwrap();
    assert_eq!(dns.cluster_domain, "cluster.local.");
    assert_eq!(dns.exclude_suffixes, [".com"]);
    assert!(!dns.kube_ip.is_empty());
    assert_eq!(info.node_addresses.iter().map(bytes::Bytes::len).collect::<Vec<_>>(), [4, 16]);
    // the stream stays open until the manager stops
    let stop = tokio::spawn(running.stop());
    assert!(infos.next().await.is_none());
    stop.await.unwrap();
}

#[tokio::test]
async fn a_stop_gives_flows_a_moment_and_then_ends_them() {
    let site = Site::new().await;
    let (listener, address) = target().await;
    let mut stream = site.open(Proto::Tcp, address).await.unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    let stop = tokio::spawn(site.running.stop());
    // still there: an answer on its way is delivered
    tokio::io::AsyncWriteExt::write_all(&mut socket, b"answer").await.unwrap();
    assert_eq!(stream.rx.recv().await.unwrap(), Some(Frame::Normal("answer".into())));
    stop.await.unwrap();
    assert!(!matches!(stream.rx.recv().await, Ok(Some(Frame::Normal(_)))));
}
