//! What sort of device it is, by its kind and its name.

use std::fmt;

use super::DeviceKind;
use crate::machine::Link;

/// `IFLA_INFO_KIND` of tunnels. OpenVPN, Tailscale, ZeroTier and most others are `tun`.
const VPN_KINDS: [&str; 19] = [
    "wireguard",
    "amneziawg",
    "tun",
    "tap",
    "ppp",
    "ovpn",
    "ovpn-dco",
    "xfrm",
    "vti",
    "vti6",
    "ipip",
    "sit",
    "gre",
    "gretap",
    "ip6tnl",
    "ip6gre",
    "ip6gretap",
    "l2tp",
    "sstp",
];

/// How names of VPN devices begin, for those whose kind tells nothing.
const VPN_NAMES: [&str; 24] = [
    "tun",
    "tap",
    "utun",
    "wg",
    "awg",
    "ppp",
    "tailscale",
    "nordlynx",
    "nordtun",
    "proton",
    "pvpn",
    "mullvad",
    "zt",
    "ipsec",
    "xfrm",
    "vpn",
    "gpd",
    "cscotun",
    "cipsec",
    "fctvpn",
    "snx",
    "CloudflareWARP",
    "nebula",
    "openvpn",
];

const BRIDGE_NAMES: [&str; 15] = [
    "virbr", "cni", "podman", "lxcbr", "lxdbr", "incusbr", "vboxnet", "vmnet", "flannel", "cali", "cilium",
    "weave", "kube-", "docker", "br-",
];

const LAN_KINDS: [&str; 7] = ["vlan", "bond", "team", "macvlan", "ipvlan", "veth", "hsr"];

impl DeviceKind {
    pub fn of(link: &Link) -> Self {
        let (name, kind) = (link.name.as_str(), link.kind.as_str());
        let is_named = |names: &[&str]| names.iter().any(|prefix| name.starts_with(prefix));
        if link.loopback {
            return Self::Loopback;
        }
        match kind {
            "bridge" | "" if is_docker(name) => Self::DockerBridge,
            "bridge" | "vxlan" | "geneve" => Self::Bridge,
            _ if VPN_KINDS.contains(&kind) => Self::Vpn,
            _ if is_named(&VPN_NAMES) => Self::Vpn,
            _ if is_named(&BRIDGE_NAMES) => Self::Bridge,
            "" if link.point_to_point => Self::Vpn,
            "" => Self::Lan,
            _ if LAN_KINDS.contains(&kind) => Self::Lan,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vpn => "VPN",
            Self::DockerBridge => "Docker bridge",
            Self::Bridge => "bridge of virtual machines or containers",
            Self::Lan => "LAN",
            Self::Loopback => "loopback",
            Self::Blackhole => "blocked on purpose",
            Self::Other => "other device",
        })
    }
}

/// `docker0`, or `br-` and the first 12 digits of a Docker network's id.
pub(super) fn is_docker(name: &str) -> bool {
    name.starts_with("docker") || docker_network(name).is_some()
}

/// The id by which Docker knows the network of a bridge.
pub(super) fn docker_network(name: &str) -> Option<&str> {
    let id = name.strip_prefix("br-")?;
    (id.len() == 12 && id.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_devices() {
        let of = |name: &str, kind: &str| {
            DeviceKind::of(&Link { name: name.into(), kind: kind.into(), up: true, ..Link::default() })
        };
        for (name, kind) in [
            ("wg0", "wireguard"),
            ("office", "wireguard"),
            ("tun0", "tun"),
            ("tailscale0", "tun"),
            ("zt5u4", "tun"),
            ("ppp0", "ppp"),
            ("nordlynx", ""),
            ("vpn-test", "veth"),
            ("tun7", "dummy"),
            ("ipsec0", "xfrm"),
        ] {
            assert_eq!(of(name, kind), DeviceKind::Vpn, "{name} {kind}");
        }
        for name in ["docker0", "br-0a1b2c3d4e5f", "docker_gwbridge"] {
            assert_eq!(of(name, "bridge"), DeviceKind::DockerBridge, "{name}");
        }
        for (name, kind) in [
            ("br-lan", "bridge"),
            ("virbr0", "bridge"),
            ("cni0", "bridge"),
            ("vboxnet0", ""),
            ("flannel.1", "vxlan"),
        ] {
            assert_eq!(of(name, kind), DeviceKind::Bridge, "{name} {kind}");
        }
        for (name, kind) in
            [("eth0", ""), ("wlp5s0", ""), ("eth0.7", "vlan"), ("bond0", "bond"), ("eth0", "veth")]
        {
            assert_eq!(of(name, kind), DeviceKind::Lan, "{name} {kind}");
        }
        assert_eq!(of("dummy0", "dummy"), DeviceKind::Other);
        assert_eq!(DeviceKind::of(&Link { loopback: true, ..Link::default() }), DeviceKind::Loopback);
    }
}
