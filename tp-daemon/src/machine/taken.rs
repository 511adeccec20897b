//! The networks this machine uses already, where the TUN must not have its addresses.

use ipnet::IpNet;
use tp_core::machine::Machine;
use tp_core::routes::is_default_like;

/// Of all routes, in whatever table, of all interfaces, and the resolvers. Default routes take nothing, nor do the
/// halves by which VPNs outdo them.
pub fn taken(machine: &Machine) -> Vec<IpNet> {
    let routes = machine.routes.iter().map(|route| route.network).filter(|net| !is_default_like(net));
    let addresses = machine.addresses.iter().map(|address| address.net);
    let resolvers = machine.resolvers.iter().copied().map(IpNet::from);
    routes.chain(addresses).chain(resolvers).collect()
}

#[cfg(test)]
mod tests {
    use tp_core::machine::{Address, Route, RouteKind};

    use super::*;

    #[test]
    fn a_vpn_that_takes_everything_leaves_room_for_the_tun() {
        let net = |text: &str| -> IpNet { text.parse().unwrap() };
        let route = |text: &str| Route {
            table: 254,
            network: net(text),
            kind: RouteKind::Unicast,
            link: Some(3),
            gateway: None,
            metric: 0,
        };
        let machine = Machine {
            routes: ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "2000::/3", "10.0.0.0/8"].map(route).into(),
            addresses: vec![Address { link: 3, net: net("10.9.0.2/32") }],
            resolvers: vec!["198.18.84.114".parse().unwrap()],
            ..Machine::default()
        };
        let taken = taken(&machine);
        assert_eq!(taken, ["10.0.0.0/8", "10.9.0.2/32", "198.18.84.114/32"].map(net));
        let v4 = tp_core::tun_addresses::pick_v4(&taken).unwrap();
        assert_eq!(v4.device, "198.19.84.113/30".parse().unwrap());
    }
}
