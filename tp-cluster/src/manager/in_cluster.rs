//! A manager in a pod: what it finds there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use tp_core::lookup::{ResolvConf, SearchPath};

use super::bench::Offer;
use super::cluster::Fixed;
use super::dns::{Hosts, Names, Upstream};
use super::kube::{self, Surroundings};
use super::policy::Policy;
use super::{NO_CLUSTER_ID, Place};
use crate::args::ManagerArgs;

/// What nearly every cluster calls itself.
const USUAL_DOMAIN: &str = "cluster.local";

pub(super) async fn place(args: &ManagerArgs) -> Result<Place> {
    let client = ::kube::Client::try_default().await.context(
        "cannot reach a Kubernetes API server\n\n\
         hint: the manager runs in a pod, where `tp helm install` puts it; elsewhere, use --standalone",
    )?;
    let around = Surroundings::new(&args.cluster);
    let conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let names = names(&ResolvConf::parse(&conf), &around.kubernetes_service).await;
    tracing::info!(domain = names.domain(), "cluster domain");
    let manager_ip = match around.own_ips.first() {
        Some(ip) => *ip,
        None => {
            tracing::warn!("POD_IPS is not set: clients are told 127.0.0.1 as the manager's address");
            Ipv4Addr::LOCALHOST.into()
        }
    };
    let fixed = Fixed {
        manager_ip,
        manager_port: args.cluster.server_port,
        cluster_domain: names.domain().to_owned(),
        client: args.client.clone(),
    };
    let offer = Offer {
        addresses: vec![manager_ip],
        name: format!("traffic-manager.{}.svc.{}", around.manager_namespace, names.domain()),
    };
    Ok(Place {
        listen: SocketAddr::new(everywhere(), args.cluster.server_port),
        fixed,
        networks: kube::watch(&client, &around),
        cluster_id: kube::cluster_id(&client, &around.manager_namespace, NO_CLUSTER_ID),
        names,
        policy: Policy::Cluster,
        offer,
        entrance: None,
    })
}

/// The DNS of this pod. The domain is on its search list, or in the name of the API server's service.
async fn names(conf: &ResolvConf, kubernetes_service: &[IpAddr]) -> Names {
    let servers: Vec<_> = conf.nameservers.iter().map(|ip| SocketAddr::new(*ip, 53)).collect();
    let upstream = Upstream::new(&servers);
    let domain = match (conf.cluster_domain(), &upstream, kubernetes_service.first()) {
        (Some(domain), _, _) => domain.to_owned(),
        (None, Some(upstream), Some(ip)) => {
            domain_of(upstream, *ip).await.unwrap_or_else(|| USUAL_DOMAIN.into())
        }
        _ => USUAL_DOMAIN.into(),
    };
    Names::new(SearchPath::new(&domain, conf), Hosts::default(), upstream, true)
}

/// `kubernetes.default.svc.DOMAIN` is the reverse name of the API server's service.
async fn domain_of(upstream: &Upstream, service: IpAddr) -> Option<String> {
    let name = upstream.reverse(service).await?;
    let domain = name.strip_prefix("kubernetes.default.svc.")?.trim_end_matches('.');
    (!domain.is_empty()).then(|| domain.to_owned())
}

/// Both families where the kernel has both.
fn everywhere() -> IpAddr {
    let has_v6 = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    if has_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}
