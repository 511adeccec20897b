//! The app's sockets, as a relay wants them.

use std::io;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tp_core::dial::DialError;
use tp_proto::relay::{DatagramSocket, SocketWriter};

use crate::dataplane::{AppSocket, AppWriteHalf};

/// Write side of an app's TCP connection.
pub(super) struct Writer(Option<AppWriteHalf>);

impl Writer {
    pub(super) fn new(half: AppWriteHalf) -> Self {
        Self(Some(half))
    }

    fn half(&mut self) -> io::Result<&mut AppWriteHalf> {
        self.0.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl SocketWriter for Writer {
    async fn write_chunk(&mut self, data: Bytes) -> io::Result<()> {
        self.half()?.write_all(&data).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        match self.half()?.shutdown().await {
            // the app has closed already: nobody is left to be told
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    fn reset(&mut self) {
        if let Some(half) = self.0.take() {
            half.reset();
        }
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

    fn undeliverable(&self, cause: DialError) {
        Self::undeliverable(self, cause);
    }
}
