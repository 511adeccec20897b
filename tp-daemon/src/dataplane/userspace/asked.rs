//! Which server an app asked before a hook sent its query to us.
//!
//! Our DNS server's socket is in the app's own namespace here, so no kernel program of ours sees the query go by. The
//! hooks remember the server by the app's socket; the kernel knows the socket by the ends of the query.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tp_core::flow::Proto;

use crate::dataplane::userspace::question::{self, Family};

const SOCK_DIAG: question::Protocol = question::Protocol::NetlinkSockDiag;
/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;
/// `inet_diag_req_v2`
const REQUEST: usize = 56;
/// Where `inet_diag_msg` has the socket's cookie: two halves, the lower one first.
const COOKIE_AT: usize = 4 + 4 + 32 + 4;
const ANY_COOKIE: [u8; 8] = [0xff; 8];

/// The number by which the hooks know the socket that `app` names, which talks to `server`.
pub(super) fn cookie(app: SocketAddr, server: SocketAddr, proto: Proto) -> io::Result<u64> {
    // A query of IPv4 may come from a socket of both families, which the kernel files under IPv6.
    let look = |family| question::ask(SOCK_DIAG, BY_FAMILY, &request(app, server, proto, family));
    let family = Family::of(app.ip());
    let answer = match look(family) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) && family == Family::V4 => look(Family::V6)?,
        answer => answer?,
    };
    read_cookie(&answer).ok_or_else(|| io::Error::other("an answer that is cut short"))
}

fn request(app: SocketAddr, server: SocketAddr, proto: Proto, family: Family) -> Vec<u8> {
    // For UDP the kernel takes the two ends the other way round, "for historical reasons".
    let (source, dest) = match proto {
        Proto::Tcp => (app, server),
        Proto::Udp => (server, app),
    };
    let mut request = vec![family.number(), proto.number(), 0, 0];
    request.extend(u32::MAX.to_ne_bytes()); // in any state
    request.extend(source.port().to_be_bytes());
    request.extend(dest.port().to_be_bytes());
    request.extend(address(source.ip(), family));
    request.extend(address(dest.ip(), family));
    request.extend([0; 4]); // by any interface
    request.extend(ANY_COOKIE);
    debug_assert_eq!(request.len(), REQUEST);
    request
}

fn address(ip: IpAddr, family: Family) -> [u8; 16] {
    match (ip, family) {
        (IpAddr::V4(ip), Family::V4) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&ip.octets());
            octets
        }
        (ip, _) => tp_core::addr::mapped(ip).octets(),
    }
}

fn read_cookie(answer: &[u8]) -> Option<u64> {
    let half = |at: usize| Some(u64::from(u32::from_ne_bytes(*answer.get(at..at + 4)?.first_chunk()?)));
    Some(half(COOKIE_AT)? | half(COOKIE_AT + 4)? << 32)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn own(socket: &impl std::os::fd::AsFd) -> u64 {
        socket2::SockRef::from(socket).cookie().unwrap()
    }

    #[test]
    fn a_socket_is_found_by_its_query() {
        for here in ["127.0.0.1:0", "[::1]:0"] {
            let (server, app) = (UdpSocket::bind(here).unwrap(), UdpSocket::bind(here).unwrap());
            let server_at = server.local_addr().unwrap();
            let app_at = app.local_addr().unwrap();
            assert_eq!(cookie(app_at, server_at, Proto::Udp).unwrap(), own(&app), "unconnected");
            app.connect(server_at).unwrap();
            assert_eq!(cookie(app_at, server_at, Proto::Udp).unwrap(), own(&app), "connected");

            let listener = TcpListener::bind(here).unwrap();
            let app = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (app_at, server_at) = (app.local_addr().unwrap(), app.peer_addr().unwrap());
            assert_eq!(cookie(app_at, server_at, Proto::Tcp).unwrap(), own(&app));
        }
    }

    #[test]
    fn a_socket_of_both_families_is_found() {
        let app = UdpSocket::bind("[::]:0").unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let app_at = SocketAddr::new("127.0.0.1".parse().unwrap(), app.local_addr().unwrap().port());
        assert_eq!(cookie(app_at, server.local_addr().unwrap(), Proto::Udp).unwrap(), own(&app));
    }
}
