//! The manager's sink, which `tp bench` measures against.

use std::net::IpAddr;

use anyhow::anyhow;
use tonic::{Code, Status};
use tp_core::addr::ip_from_bytes;
use tp_proto::bench::OpenSinkRequest;
use tp_proto::daemon::Sink;

use super::Session;
use super::drive::limited;
use crate::dns::Translation;
use crate::failure::Failure;

const DOING: &str = "asking the manager for something to measure against";
const OTHERWISE: &str = "measure how fast connections to any server are made: tp bench --address HOST:PORT; or run \
    `tp-traffic sink` in the cluster: tp bench --sink HOST:PORT";

impl Session {
    /// Opens it, or finds it open. The addresses are those that apps use.
    pub async fn open_sink(&self) -> Result<Sink, Failure> {
        let request = OpenSinkRequest { session_id: self.shared.get().session };
        let mut manager = self.peer.bench.clone();
        let offered = limited(self.peer.answer_within, manager.open_sink(request)).await;
        let offered = offered.map_err(|status| self.refused(&status))?;
        let (Ok(port), addresses) = (u16::try_from(offered.port), &offered.addresses) else {
            return Err(Failure::new(anyhow!("it names no port").context(DOING), OTHERWISE));
        };
        let addresses: Vec<IpAddr> = addresses.iter().filter_map(|bytes| ip_from_bytes(bytes)).collect();
        let reached: Vec<String> =
            addresses.iter().filter_map(|ip| self.app_address(*ip)).map(|ip| ip.to_string()).collect();
        if reached.is_empty() {
            let (error, hint) = match addresses.first() {
                Some(ip) => {
                    let hint = format!("route it: tp connect --also-proxy {ip}");
                    (anyhow!("it offers {ip}, which is not routed to the cluster"), hint)
                }
                None => (anyhow!("it names no address"), OTHERWISE.to_owned()),
            };
            return Err(Failure::new(error.context(DOING), hint));
        }
        Ok(Sink { addresses: reached, port: port.into(), name: offered.name })
    }

    /// What an app calls this address of the cluster; `None` if it does not reach it.
    fn app_address(&self, ip: IpAddr) -> Option<IpAddr> {
        match self.addresses.to_app(ip) {
            Ok(Some(vip)) => Some(vip),
            Ok(None) => {
                let routed = self.shared.get().reached.plan.routed;
                routed.iter().any(|placed| placed.network.contains(&ip)).then_some(ip)
            }
            Err(_) => None,
        }
    }

    fn refused(&self, status: &Status) -> Failure {
        let (error, hint) = match status.code() {
            // Telepresence's
            Code::Unimplemented => (anyhow!("{} has no sink", self.facts.manager), OTHERWISE),
            Code::FailedPrecondition => (anyhow!(status.message().to_owned()), OTHERWISE),
            _ => (anyhow!(status.message().to_owned()), "see the manager's log"),
        };
        Failure::new(error.context(DOING), hint)
    }
}
