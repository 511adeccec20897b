//! The ConnID: source, destination and protocol of a tunnel stream (facts §4.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::addr::{AppAddr, ClusterAddr, mapped, unmapped};
use crate::flow::Proto;

/// Names one tunnel stream. `source` is what the dialled side may see as the peer, `destination` is dialled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnId {
    pub source: AppAddr,
    pub destination: ClusterAddr,
    pub proto: Proto,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnIdError {
    #[error("a ConnID has 13 or 37 bytes, this one has {0}")]
    Length(usize),
    #[error("protocol {0} is neither TCP (6) nor UDP (17)")]
    Protocol(u8),
}

const V4_LEN: usize = 13;
const V6_LEN: usize = 37;

impl ConnId {
    /// 13 bytes if both ends are IPv4 (mapped ones included), else 37 with IPv4 in its mapped form.
    pub fn encode(&self) -> Vec<u8> {
        let (source, destination) = (unmapped(self.source.ip()), unmapped(self.destination.ip()));
        let mut out = Vec::with_capacity(V6_LEN);
        for (ip, port) in [(source, self.source.port()), (destination, self.destination.port())] {
            match (source, destination, ip) {
                (IpAddr::V4(_), IpAddr::V4(_), IpAddr::V4(v4)) => out.extend(v4.octets()),
                _ => out.extend(mapped(ip).octets()),
            }
            out.extend(port.to_be_bytes());
        }
        out.push(self.proto.number());
        out
    }

    /// Total: any input gives an id or an error. A malformed id crashes a Telepresence 2.20 peer (facts §0.2.2), so
    /// nothing that fails here may ever be passed on.
    pub fn decode(bytes: &[u8]) -> Result<Self, ConnIdError> {
        let (source, destination) = match bytes.len() {
            V4_LEN => (socket_v4(&bytes[..6]), socket_v4(&bytes[6..12])),
            V6_LEN => (socket_v6(&bytes[..18]), socket_v6(&bytes[18..36])),
            len => return Err(ConnIdError::Length(len)),
        };
        let number = bytes[bytes.len() - 1];
        let proto = Proto::from_number(number).ok_or(ConnIdError::Protocol(number))?;
        Ok(Self { source: AppAddr(source), destination: ClusterAddr(destination), proto })
    }
}

fn socket_v4(bytes: &[u8]) -> SocketAddr {
    let ip = Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]);
    SocketAddr::new(ip.into(), u16::from_be_bytes([bytes[4], bytes[5]]))
}

fn socket_v6(bytes: &[u8]) -> SocketAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[..16]);
    SocketAddr::new(unmapped(Ipv6Addr::from(octets).into()), u16::from_be_bytes([bytes[16], bytes[17]]))
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.proto, self.source, self.destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::stream_info::tests::hex;
    use proptest::prelude::*;

    fn id(source: &str, destination: &str, proto: Proto) -> ConnId {
        ConnId {
            source: AppAddr(source.parse().unwrap()),
            destination: ClusterAddr(destination.parse().unwrap()),
            proto,
        }
    }

    /// facts/telepresence-wire.md, appendix A.
    #[test]
    fn vectors() {
        for (id, bytes) in [
            (id("10.1.2.3:45678", "10.96.0.10:8080", Proto::Tcp), "0a010203b26e0a60000a1f9006"),
            (
                id("[fd00::1]:45678", "[fd00::2]:53", Proto::Udp),
                "fd000000000000000000000000000001b26efd000000000000000000000000000002003511",
            ),
            (
                id("10.1.2.3:45678", "[fd00::2]:8080", Proto::Tcp),
                "00000000000000000000ffff0a010203b26efd0000000000000000000000000000021f9006",
            ),
        ] {
            assert_eq!(id.encode(), hex(bytes), "{id}");
            assert_eq!(ConnId::decode(&hex(bytes)), Ok(id));
        }
    }

    #[test]
    fn malformed() {
        assert_eq!(ConnId::decode(&[]), Err(ConnIdError::Length(0)));
        assert_eq!(ConnId::decode(&[0; 14]), Err(ConnIdError::Length(14)));
        assert_eq!(ConnId::decode(&[1; 13]), Err(ConnIdError::Protocol(1)));
    }

    proptest! {
        #[test]
        fn total_and_stable(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(id) = ConnId::decode(&bytes) {
                prop_assert_eq!(ConnId::decode(&id.encode()), Ok(id));
            }
        }
    }
}
