//! `IPNet` and IP addresses of the wire, to and from the types of tp-core.

use std::net::IpAddr;

use ipnet::IpNet;
use tp_core::addr::{ip_from_bytes, ip_to_bytes};

use crate::manager::IpNet as WireNet;

/// A subnet as a peer sent it; `None` if its address or prefix length is malformed. Host bits are cleared.
pub fn net_from_wire(net: &WireNet) -> Option<IpNet> {
    let ip = ip_from_bytes(&net.ip)?;
    IpNet::new(ip, u8::try_from(net.mask).ok()?).ok().map(|net| net.trunc())
}

/// The reverse: 4 bytes for IPv4, as a Telepresence client needs it (facts §3).
pub fn net_to_wire(net: IpNet) -> WireNet {
    WireNet { ip: ip_to_bytes(net.addr()).into(), mask: net.prefix_len().into() }
}

/// Address of a `bytes` field; empty or malformed is `None`.
pub fn ip_from_wire(bytes: &[u8]) -> Option<IpAddr> {
    ip_from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets() {
        let net: IpNet = "10.96.0.0/16".parse().unwrap();
        assert_eq!(net_to_wire(net).ip.len(), 4);
        assert_eq!(net_from_wire(&net_to_wire(net)), Some(net));
        assert_eq!(net_from_wire(&WireNet { ip: vec![10, 96, 3, 4].into(), mask: 16 }), Some(net));
        for (ip, mask) in [(vec![], 0), (vec![10, 0, 0, 0], 33), (vec![10, 0, 0, 0], -1), (vec![1; 5], 8)] {
            assert_eq!(net_from_wire(&WireNet { ip: ip.into(), mask }), None);
        }
    }
}
