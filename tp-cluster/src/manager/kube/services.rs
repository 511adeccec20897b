//! The service subnets: from the ServiceCIDR API; on clusters without it, from the API server's refusal of an address
//! that cannot be a service's; and if that says nothing, around the one service that every pod knows.

use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::api::PostParams;
use kube::{Api, Client};
use tp_core::subnets::{around_service, from_refusal, merged};

use super::follow::follow;
use super::{Report, Surroundings};

/// The subnets do not change without a restart of the API server; the right to watch may be given later.
const RETRY: Duration = Duration::from_secs(600);

/// Addresses that no cluster uses for services, one of each family, as Telepresence's manager asks for them.
const PROBES: [(&str, &str); 2] = [("IPv4", "1.1.1.1"), ("IPv6", "1:1::1")];

pub(super) async fn run(client: Client, around: Surroundings, report: Report) {
    loop {
        let refused = follow(Api::<ServiceCIDR>::all(client.clone()), cidrs, |objects| {
            let subnets = merged(objects.values().flatten().copied());
            report.send_modify(|parts| parts.service_subnets = Some(subnets));
        })
        .await;
        tracing::info!(?refused, "no ServiceCIDR API; asking for an impossible service instead");
        let mut subnets = probe(&client, &around.manager_namespace).await;
        if subnets.is_empty() {
            subnets = around.kubernetes_service.iter().copied().map(around_service).collect();
            tracing::warn!(?subnets, "the service subnets are a guess: around the service of the API server");
        }
        report.send_modify(|parts| parts.service_subnets = Some(merged(subnets)));
        tokio::time::sleep(RETRY).await;
    }
}

fn cidrs(object: &ServiceCIDR) -> Vec<IpNet> {
    let spec = object.spec.as_ref();
    let cidrs = spec.and_then(|spec| spec.cidrs.as_ref()).into_iter().flatten();
    cidrs.filter_map(|cidr| cidr.parse().ok()).collect()
}

/// Asks, as a dry run, for services that must be refused, and reads the range out of the refusal.
async fn probe(client: &Client, namespace: &str) -> Vec<IpNet> {
    let api = Api::<Service>::namespaced(client.clone(), namespace);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let mut subnets = Vec::new();
    for (family, address) in PROBES {
        match api.create(&dry_run, &impossible(family, address)).await {
            Err(kube::Error::Api(status)) => {
                tracing::debug!(family, message = status.message, "the API server's refusal");
                subnets.extend(from_refusal(&status.message));
            }
            Err(error) => tracing::warn!(%error, "cannot ask for the service subnets"),
            Ok(_) => {
                tracing::warn!(address, "the API server would make a service of an address that is none");
            }
        }
    }
    subnets
}

fn impossible(family: &str, address: &str) -> Service {
    let mut service = Service::default();
    service.metadata.name = Some("tp-service-subnet".into());
    service.spec = Some(ServiceSpec {
        cluster_ip: Some(address.into()),
        cluster_ips: Some(vec![address.into()]),
        ip_families: Some(vec![family.into()]),
        ports: Some(vec![ServicePort { port: 443, ..ServicePort::default() }]),
        ..ServiceSpec::default()
    });
    service
}
