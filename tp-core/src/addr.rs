//! Addresses that know which side they are on.
//!
//! A bare `SocketAddr` never crosses a function that has two sides: mixing up "the app's" and "the cluster's"
//! is the oldest bug of every tunnel.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

macro_rules! side {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub SocketAddr);

        impl $name {
            pub fn new(ip: impl Into<IpAddr>, port: u16) -> Self {
                Self(SocketAddr::new(ip.into(), port))
            }

            pub fn ip(&self) -> IpAddr {
                self.0.ip()
            }

            pub fn port(&self) -> u16 {
                self.0.port()
            }

            pub fn is_ipv6(&self) -> bool {
                self.0.is_ipv6()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

side! {
    /// The app's own end: source of its SYN or datagram, on the workstation.
    AppAddr
}
side! {
    /// Where the app believes it connects to: a cluster address, or a VIP that stands for one.
    DestAddr
}
side! {
    /// An address routed in the cluster: what the far end dials.
    ClusterAddr
}

/// `::ffff:a.b.c.d` becomes `a.b.c.d`; everything else stays. Dual-stack sockets hand out the mapped form.
pub fn unmapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// The 16-byte form of an address that the kernel maps and the wire share: IPv4 as `::ffff:a.b.c.d`.
pub fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// An IP address out of 4 or 16 bytes, as protobuf `bytes` fields carry it; any other length is `None`.
pub fn ip_from_bytes(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

/// The reverse of [`ip_from_bytes`]: 4 bytes for IPv4, 16 for IPv6.
pub fn ip_to_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_and_unmapped_are_inverse_for_v4() {
        let v4: IpAddr = "10.1.2.3".parse().unwrap();
        assert_eq!(unmapped(mapped(v4).into()), v4);
        let v6: IpAddr = "fd00::1".parse().unwrap();
        assert_eq!(unmapped(mapped(v6).into()), v6);
    }

    #[test]
    fn bytes_of_a_wrong_length_are_no_address() {
        assert_eq!(ip_from_bytes(&[10, 0, 0, 1]), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(ip_from_bytes(&[]), None);
        assert_eq!(ip_from_bytes(&[1, 2, 3, 4, 5]), None);
        let v6: IpAddr = "fd96::1".parse().unwrap();
        assert_eq!(ip_from_bytes(&ip_to_bytes(v6)), Some(v6));
    }
}
