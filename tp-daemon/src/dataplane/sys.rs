//! The few system calls no crate here wraps.
#![expect(unsafe_code, reason = "ioctl and getsockopt with hand-made arguments")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

nix::ioctl_write_int!(tun_set_offload, b'T', 208);

const TUN_F_CSUM: u64 = 1;
const TUN_F_TSO4: u64 = 2;
const TUN_F_TSO6: u64 = 4;

/// Tells the TUN that its reader takes unfinished checksums and large TCP segments.
pub(super) fn enable_offloads(tun: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes a plain number.
    unsafe { tun_set_offload(tun.as_raw_fd(), TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) }?;
    Ok(())
}

/// Has the TUN's kernel finish checksums and cut TCP segments before its reader gets them.
pub(super) fn disable_offloads(tun: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes a plain number.
    unsafe { tun_set_offload(tun.as_raw_fd(), 0) }?;
    Ok(())
}

/// Takes the descriptor out of a device of the `tun` crate.
pub(super) fn into_owned_fd(device: impl IntoRawFd) -> OwnedFd {
    // SAFETY: `into_raw_fd` gives the ownership away.
    unsafe { OwnedFd::from_raw_fd(device.into_raw_fd()) }
}

/// Lets the runtime watch a descriptor.
pub(super) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open, and always the same one, until it is dropped; the AsyncFd owns it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// The number by which the kernel programs know the network namespace of a socket.
pub(super) fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut len: libc::socklen_t = 8;
    // SAFETY: the option writes 8 bytes, and both pointers are to live variables.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

const SO_NETNS_COOKIE: libc::c_int = 71;
