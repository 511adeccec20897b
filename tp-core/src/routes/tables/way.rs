//! A holder of an address, for people.

use ipnet::IpNet;

use super::{Holder, Tables, throws_away};
use crate::conflicts::{DeviceKind, InTheWay, Taken};
use crate::machine::{LOCAL, Route, RouteKind};

impl Tables {
    /// And the network it holds, if it is one.
    pub(in crate::routes) fn in_the_way(&self, holder: &Holder<'_>) -> (InTheWay, Option<IpNet>) {
        match holder {
            Holder::Route(route, network) => (self.route_in_the_way(route, *network), Some(*network)),
            Holder::Rule(rule, network) => {
                (InTheWay::without_device(Taken::Rule(rule.priority), DeviceKind::Blackhole), Some(*network))
            }
            Holder::Nobody => (InTheWay::without_device(Taken::AllRules, DeviceKind::Other), None),
        }
    }

    fn route_in_the_way(&self, route: &Route, network: IpNet) -> InTheWay {
        let link = self.link(route.link);
        let is_address = route.kind == RouteKind::Local
            && route.table == LOCAL
            && network.prefix_len() == network.max_prefix_len();
        InTheWay {
            what: if is_address { Taken::Address(network.addr()) } else { Taken::Route(network) },
            device: link.map(|link| link.name.clone()).unwrap_or_default(),
            gateway: route.gateway,
            table: (!is_address).then_some(route.table),
            kind: match link {
                _ if throws_away(route.kind) => DeviceKind::Blackhole,
                Some(link) => DeviceKind::of(link),
                None => DeviceKind::Other,
            },
            note: (network != route.network.trunc())
                .then(|| format!("a policy rule sends it to table {}", route.table)),
        }
    }
}
