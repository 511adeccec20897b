//! The app's sockets, as a relay wants them.

use std::io;

use tp_core::dial::DialError;
use tp_proto::relay::{Abort, DatagramSocket};

use crate::dataplane::{AppSocket, AppWriteHalf};

impl Abort for AppWriteHalf {
    fn abort(self) {
        self.reset();
    }
}

/// The dataplane decides when a flow has been idle for too long.
impl DatagramSocket for AppSocket {
    async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        Self::recv(self, buf).await?.ok_or_else(|| io::ErrorKind::TimedOut.into())
    }

    async fn send(&self, data: &[u8]) -> io::Result<usize> {
        Self::send(self, data).await.map(|()| data.len())
    }

    async fn readable(&self) -> io::Result<()> {
        Self::readable(self).await
    }

    fn undeliverable(&self, cause: DialError) {
        Self::undeliverable(self, cause);
    }
}
