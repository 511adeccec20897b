//! The TUN device `tp0`: opening it, and moving packets through its file.
//!
//! Every packet has a virtio header in front (IFF_VNET_HDR). The daemon never looks into it: what it held it writes
//! back with the header it came with, so that a checksum the kernel left unfinished stays unfinished; what it makes
//! itself has a header of zeros and complete checksums.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::dataplane::sys;

pub const TUN_NAME: &str = "tp0";

/// TUN and pair. The packets never reach a wire, so the larger the better; above 16 000 bytes the kernel refuses to
/// make room for the Ethernet header of a packet that is not GSO.
pub(super) const MTU: u32 = 16_000;

/// Length of the virtio header.
pub(super) const VNET_HDR: usize = 10;

/// The largest packet, with its header.
pub(super) const MAX_PACKET: usize = VNET_HDR + 65_536 + 40;

/// Creates the device. It lives as long as the descriptor.
pub(super) fn open() -> io::Result<OwnedFd> {
    let mut config = tun::Configuration::default();
    config.tun_name(TUN_NAME).platform_config(|platform| {
        platform.vnet_hdr(true).ensure_root_privileges(false); // addresses are ours to set, over netlink
    });
    let device = tun::Device::new(&config).map_err(io::Error::from)?;
    device.set_nonblock()?;
    let fd = sys::into_owned_fd(device);
    sys::enable_offloads(fd.as_fd())?;
    Ok(fd)
}

/// A packet, or that the device has been deleted: epoll calls that an error and nothing else.
const INPUT: Interest = Interest::READABLE.add(Interest::ERROR);

/// The device inside the runtime.
pub(super) struct Tun(AsyncFd<OwnedFd>);

impl Tun {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        sys::watch(fd, INPUT | Interest::WRITABLE).map(Self)
    }

    /// The next packet with its virtio header; waits for it.
    pub(super) async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.async_io(INPUT, |fd| Ok(nix::unistd::read(fd, buf)?)).await
    }

    /// A held packet as it was read, virtio header included.
    pub(super) async fn write_back(&self, raw: &[u8]) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, |fd| Ok(nix::unistd::write(fd, raw)?)).await.map(drop)
    }

    /// A packet of our own making. Never waits: an answer that does not fit is asked for again.
    pub(super) fn try_write(&self, packet: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(&[0; VNET_HDR]), IoSlice::new(packet)];
        Ok(nix::sys::uio::writev(self.0.get_ref(), &parts).map(drop)?)
    }
}
