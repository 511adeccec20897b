//! The error's text, as users read it.

use super::*;

fn conflict(subnet: &str, origin: Origin, route: &str, device: &str, kind: DeviceKind) -> Conflict {
    let (subnet, route): (IpNet, IpNet) = (subnet.parse().unwrap(), route.parse().unwrap());
    let overlap = if subnet.prefix_len() > route.prefix_len() { subnet } else { route };
    let way = InTheWay {
        what: Taken::Route(route),
        device: device.into(),
        gateway: None,
        table: Some(crate::machine::MAIN),
        kind,
        note: None,
    };
    Conflict { subnet, origin, overlap, way, beatable: true }
}

#[test]
fn the_seeds_vpn() {
    let mut conflicts = [
        conflict("10.130.0.0/16", Origin::Service, "10.0.0.0/8", "tun0", DeviceKind::Vpn),
        conflict("10.132.0.0/16", Origin::Pods, "10.0.0.0/8", "tun0", DeviceKind::Vpn),
    ];
    for conflict in &mut conflicts {
        conflict.way.gateway = Some("10.8.0.1".parse().unwrap());
    }
    insta::assert_snapshot!(explain(&conflicts, &CommandLine("sudo tp connect --context lab".into())));
}

#[test]
fn everything_at_once() {
    let mut conflicts = vec![
        conflict("10.96.0.0/12", Origin::Service, "10.100.7.0/24", "wg0", DeviceKind::Vpn),
        conflict("172.17.0.0/16", Origin::Pods, "172.17.0.0/16", "docker0", DeviceKind::DockerBridge),
        conflict("172.18.0.0/16", Origin::Pods, "172.18.0.0/16", "br-0123456789ab", DeviceKind::DockerBridge),
        conflict("192.168.1.0/24", Origin::AlsoProxy, "192.168.0.0/16", "eth0", DeviceKind::Lan),
        conflict("10.42.0.0/16", Origin::Pods, "10.42.0.0/24", "", DeviceKind::Blackhole),
        conflict("100.64.0.0/16", Origin::AlsoProxy, "100.64.0.0/10", "tailscale0", DeviceKind::Vpn),
    ];
    conflicts[5].way.table = Some(52);
    conflicts.push(Conflict {
        way: InTheWay {
            what: Taken::Address("192.168.1.17".parse().unwrap()),
            table: None,
            ..conflicts[3].way.clone()
        },
        overlap: "192.168.1.17/32".parse().unwrap(),
        beatable: false,
        ..conflicts[3].clone()
    });
    insta::assert_snapshot!(explain(&conflicts, &CommandLine::default()));
}

#[test]
fn a_rule_that_no_route_can_beat() {
    let mut only = conflict("10.130.0.0/16", Origin::Service, "10.0.0.0/8", "", DeviceKind::Blackhole);
    only.way = InTheWay::without_device(Taken::Rule(9), DeviceKind::Blackhole);
    only.beatable = false;
    insta::assert_snapshot!(explain(&[only], &CommandLine::default()));
}
