//! The control socket: where it is, and how its two ends make sure of each other.
//!
//! An abstract socket belongs to a network namespace and vanishes with its process: one daemon per namespace, nothing
//! to clean up. Anybody may bind the name, so `tp` trusts only a listener that was made by root.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use hyper_util::rt::TokioIo;
use prost::Message;
use tonic::transport::{Channel, Endpoint};

use crate::daemon::ConnectRequest;
use crate::daemon::daemon_client::DaemonClient;

/// Name of the abstract socket, written `@tp-daemon` by `ss -x`.
pub const NAME: &str = "tp-daemon";

/// The process that made the listening socket, as the kernel recorded it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listener {
    pub uid: u32,
    /// 0 if the process is not in our PID namespace.
    pub pid: i32,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name is free.
    #[error("no daemon is running in this network namespace")]
    NotRunning,
    #[error("the control socket @{NAME} was not made by root but by uid {} (process {})", .0.uid, .0.pid)]
    Squatter(Listener),
    #[error("cannot connect to the control socket @{NAME}: {0}")]
    Io(#[from] io::Error),
    #[error("cannot talk to the daemon over the control socket @{NAME}: {0}")]
    Http(#[from] tonic::transport::Error),
}

/// Binds the name. The listener's credentials are the caller's of this moment: call it as root.
pub fn listen() -> io::Result<UnixListener> {
    let listener = UnixListener::bind_addr(&address()?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A client of this network namespace's daemon, over one connection that is never made again: when it breaks, the
/// daemon is gone.
pub async fn connect() -> Result<(DaemonClient<Channel>, Listener), ConnectError> {
    let stream = match UnixStream::connect_addr(&address()?) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(ConnectError::NotRunning);
        }
        Err(error) => return Err(error.into()),
    };
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let peer = stream.peer_cred()?;
    let listener = Listener { uid: peer.uid(), pid: peer.pid().unwrap_or(0) };
    if listener.uid != 0 {
        return Err(ConnectError::Squatter(listener));
    }
    let mut stream = Some(stream);
    let once = tower::service_fn(move |_| {
        let stream = stream.take().ok_or(io::ErrorKind::NotConnected);
        async move { Ok::<_, io::Error>(TokioIo::new(stream?)) }
    });
    let channel = Endpoint::from_static("http://tp-daemon").connect_with_connector(once).await?;
    Ok((DaemonClient::new(channel).max_decoding_message_size(usize::MAX), listener))
}

/// A request for a daemon's program that is asked over its stdin: `tp-daemon doctor`.
pub fn request_to_bytes(request: &ConnectRequest) -> Vec<u8> {
    request.encode_to_vec()
}

pub fn request_from_bytes(bytes: &[u8]) -> io::Result<ConnectRequest> {
    ConnectRequest::decode(bytes).map_err(io::Error::other)
}

fn address() -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(NAME)
}
