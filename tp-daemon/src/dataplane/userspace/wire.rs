//! The TUN's file: packets in, packets out, with their virtio headers.
//!
//! Large segments go both ways unsplit, and checksums are left to the kernel: what it reads from us it believes. Without
//! offloads ([`Segments`]) the kernel cuts and sums what it gives us, and we what we give it.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;

use smoltcp::phy::{
    Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, PacketMeta, RxToken,
    SegmentationCapabilities, TxToken,
};
use smoltcp::time::Instant;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::dataplane::answer;
use crate::dataplane::counts::{Count, Counts};
use crate::dataplane::packet;
use crate::dataplane::sys;
use crate::dataplane::tun::VNET_HDR;
use crate::dataplane::userspace::segments::Segments;

/// As long as an IP packet can be.
const LONGEST: usize = 65_535;

const NEEDS_CSUM: u8 = 1;
const GSO_TCP_V4: u8 = 1;
const GSO_TCP_V6: u8 = 4;
const TCP: u8 = 6;

/// A packet, or that the device has been deleted: epoll calls that an error and nothing else.
const INPUT: Interest = Interest::READABLE.add(Interest::ERROR);

thread_local! {
    /// Where packets are made. As many as there are threads, and not one per connection.
    static DESK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) struct Wire {
    fd: AsyncFd<OwnedFd>,
    counts: Counts,
    segments: Segments,
}

impl Wire {
    pub(super) fn new(fd: OwnedFd, segments: Segments) -> io::Result<Self> {
        Ok(Self { fd: sys::watch(fd, INPUT | Interest::WRITABLE)?, counts: Counts::new(), segments })
    }

    pub(super) fn segments(&self) -> Segments {
        self.segments
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The next packet with its virtio header; waits for it.
    pub(super) async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.fd.async_io(INPUT, |fd| Ok(nix::unistd::read(fd, buf)?)).await
    }

    /// A packet with complete checksums.
    pub(super) fn write(&self, packet: &[u8]) {
        self.make(packet.len(), |desk| desk.copy_from_slice(packet), |_| [0; VNET_HDR]);
    }

    /// A packet whose transport checksum the kernel completes: `checksum_at` is its place behind the IP header. With
    /// offloads only.
    pub(super) fn write_unsummed(&self, len: usize, checksum_at: u8, fill: impl FnOnce(&mut [u8])) {
        self.make(len, fill, |packet| unsummed(packet, checksum_at, None));
    }

    fn make<R>(
        &self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> R,
        header: impl FnOnce(&mut [u8]) -> [u8; VNET_HDR],
    ) -> R {
        DESK.with_borrow_mut(|desk| {
            desk.resize(desk.len().max(VNET_HDR + len), 0);
            let raw = &mut desk[..VNET_HDR + len];
            let (front, packet) = raw.split_at_mut(VNET_HDR);
            let result = fill(packet);
            front.copy_from_slice(&header(packet));
            // Never waits: what does not get through is sent again, by whoever made it.
            if let Err(error) = nix::unistd::write(self.fd.get_ref(), raw) {
                self.counts.up(Count::WriteFailed);
                tracing::debug!(%error, len, "a packet could not be written to the TUN");
            }
            result
        })
    }
}

/// The virtio header of a packet whose transport checksum is left to the kernel, which wants the sum of the pseudo header
/// in its place. `segment`: TCP, to be taken for so many bytes a segment.
fn unsummed(packet: &mut [u8], checksum_at: u8, segment: Option<u16>) -> [u8; VNET_HDR] {
    let Some((transport, pseudo)) = pseudo_header(packet) else { return [0; VNET_HDR] };
    let at = usize::from(transport) + usize::from(checksum_at);
    let Some(place) = packet.get_mut(at..at + 2) else { return [0; VNET_HDR] };
    place.copy_from_slice(&(!answer::checksum([&pseudo])).to_be_bytes());
    let mut header = [0; VNET_HDR];
    header[0] = NEEDS_CSUM;
    if let Some(segment) = segment {
        let tcp_header = packet.get(usize::from(transport) + 12).map_or(20, |byte| u16::from(byte >> 4) * 4);
        header[1] = if packet[0] >> 4 == 4 { GSO_TCP_V4 } else { GSO_TCP_V6 };
        header[2..4].copy_from_slice(&(transport + tcp_header).to_ne_bytes());
        header[4..6].copy_from_slice(&segment.to_ne_bytes());
    }
    header[6..8].copy_from_slice(&transport.to_ne_bytes());
    header[8..10].copy_from_slice(&u16::from(checksum_at).to_ne_bytes());
    header
}

fn pseudo_header(packet: &[u8]) -> Option<(u16, Vec<u8>)> {
    let layout = packet::layout(packet)?;
    let len = u32::try_from(packet.len() - layout.transport).ok()?;
    let mut pseudo = match packet.first()? >> 4 {
        4 => packet.get(12..20)?.to_vec(),
        _ => packet.get(8..40)?.to_vec(),
    };
    pseudo.extend(len.to_be_bytes());
    pseudo.extend([0, layout.proto]);
    Some((u16::try_from(layout.transport).ok()?, pseudo))
}

/// What smoltcp takes for its network card: at most one packet to receive, and all of them to send.
pub(super) struct Card<'a> {
    pub(super) wire: &'a Wire,
    pub(super) packet: Option<&'a [u8]>,
    pub(super) mtu: u32,
}

pub(super) struct Received<'a>(&'a [u8]);

pub(super) struct Sending<'a> {
    wire: &'a Wire,
    meta: PacketMeta,
}

impl Device for Card<'_> {
    type RxToken<'b>
        = Received<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = Sending<'b>
    where
        Self: 'b;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        let packet = self.packet.take()?;
        Some((Received(packet), Sending { wire: self.wire, meta: PacketMeta::default() }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending { wire: self.wire, meta: PacketMeta::default() })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::ignored();
        checksum.ipv4 = Checksum::Tx;
        if !self.wire.segments.offloads {
            checksum.tcp = Checksum::Tx; // what the app's kernel has just summed need not be checked
        }
        checksum.icmpv6 = Checksum::Tx;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu as usize;
        capabilities.checksum = checksum;
        let mut segmentation = SegmentationCapabilities::default();
        if self.wire.segments.offloads {
            // smoltcp drops large segments of IPv6 instead of telling us the size (as of 0.14)
            segmentation.tcpv4 = std::num::NonZeroUsize::new(LONGEST);
        }
        capabilities.segmentation = segmentation;
        capabilities
    }
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, work: F) -> R {
        work(self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        if !self.wire.segments.offloads {
            return self.wire.make(len, fill, |_| [0; VNET_HDR]);
        }
        let segment = self.meta.segmentation_offload_size.map(std::num::NonZeroU16::get);
        self.wire.make(len, fill, |packet| {
            let proto = packet::layout(packet).map(|layout| layout.proto);
            if proto == Some(TCP) { unsummed(packet, TCP_CHECKSUM, segment) } else { [0; VNET_HDR] }
        })
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.meta = meta;
    }
}

const TCP_CHECKSUM: u8 = 16;
