//! How much a packet of this mode holds, and what is left to the app's kernel.

/// Fixed when the TUN is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segments {
    /// Of the TUN.
    pub mtu: u32,
    /// Whether large TCP segments and unfinished checksums go both ways: then the app's kernel neither cuts segments nor
    /// sums bytes, and we do not either.
    pub offloads: bool,
}

impl Segments {
    /// What users get. TCP over IPv4 goes in large segments whatever the MTU is; a larger one saves IPv6 towards the app,
    /// for which smoltcp has no large segments, and datagrams their fragments.
    pub const LARGE: Self = Self { mtu: 16_000, offloads: true };
    /// What a VPN in user space does if it does nothing about it. For comparison only.
    pub const ETHERNET: Self = Self { mtu: 1500, offloads: false };
}
