//! An agent: the container beside a workload's own that dials for clients from inside the pod.

use std::net::IpAddr;

use super::ArriveError;

/// What an agent said about itself when it arrived.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Agent {
    pub namespace: String,
    pub workload: String,
    pub pod_name: String,
    /// `None` if it told none, or nonsense: then nobody can reach it.
    pub pod_ip: Option<IpAddr>,
    /// Where it serves `telepresence.agent.Agent`; 0 if it told nonsense.
    pub api_port: u16,
    pub product: String,
    pub version: String,
    pub mechanisms: Vec<Mechanism>,
}

/// A way of intercepting that an agent offers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Mechanism {
    pub name: String,
    pub product: String,
    pub version: String,
}

impl Agent {
    /// Where a client reaches it, if it told.
    pub fn api(&self) -> Option<(IpAddr, u16)> {
        self.pod_ip.filter(|_| self.api_port != 0).map(|ip| (ip, self.api_port))
    }

    /// facts/telepresence-wire.md §2.3.
    pub(super) fn check(&self) -> Result<(), ArriveError> {
        for (value, problem) in [
            (&self.workload, "name is empty"),
            (&self.namespace, "namespace is empty"),
            (&self.product, "product is empty"),
            (&self.version, "version is empty"),
        ] {
            if value.is_empty() {
                return Err(ArriveError::Agent(problem));
            }
        }
        if self.mechanisms.is_empty() {
            return Err(ArriveError::Agent("list of mechanisms is empty"));
        }
        let complete = |m: &Mechanism| !(m.name.is_empty() || m.product.is_empty() || m.version.is_empty());
        if !self.mechanisms.iter().all(complete) {
            return Err(ArriveError::Agent("list of mechanisms has one without name, product or version"));
        }
        Ok(())
    }
}
