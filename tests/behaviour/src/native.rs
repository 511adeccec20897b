//! Plain routing in place of tp: what passes here is a property of the cases, not of tp.
use anyhow::Result;

use crate::place::Place;
use crate::site::{Facts, Site};
use crate::stage::Stage;
use crate::topology::{self, NODE, Topology};

#[derive(Debug)]
pub struct Native {
    topology: Topology,
    facts: Facts,
}

impl Native {
    pub fn new(stage: &Stage) -> Result<Self> {
        let topology = Topology::new(stage, "native", true)?;
        for (family, subnet) in [("-4", "10.55.0.0/16"), ("-6", "fd55::/48")] {
            let via = if family == "-4" { NODE } else { "2001:db8::1" };
            topology.ws().ip(&format!("{family} route add {subnet} via {via}"))?;
        }
        Ok(Self { topology, facts: Facts { by_search_list: true, ..topology::facts() } })
    }
}

impl Site for Native {
    fn app(&self) -> Place {
        self.topology.workstation().place()
    }

    fn node(&self) -> Place {
        self.topology.node()
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }
}
