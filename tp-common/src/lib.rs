//! The contract between the kernel programs and the daemon: map keys and values, outcomes, load-time settings.
//!
//! Everything here is `repr(C)` without padding, because the kernel compares keys byte by byte. Ports are in host
//! byte order, addresses are the 16 bytes of an IPv6 address in network order, IPv4 as `::ffff:a.b.c.d`: one key
//! form for both families, and the one a dual-stack socket shows.

#![no_std]

pub mod addr;
pub mod dns;
pub mod flow;
pub mod outcome;
pub mod recursion;
pub mod settings;
pub mod vip;

pub use addr::Addr;

/// Index of a listener in the `LISTENERS` sock map.
pub const LISTENER_V4: u32 = 0;
pub const LISTENER_V6: u32 = 1;

/// Both ends of the pair carry this MAC address: with ARP off the kernel then addresses every frame to itself,
/// so no neighbour entry is ever needed, for IPv4 or IPv6.
pub const PAIR_MAC: [u8; 6] = [0x02, 0, 0, 0, b't', b'p'];

/// IP protocol numbers the programs look at.
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

/// Asserts a size at compile time and, for the loader, that any bit pattern is a value (`aya::Pod`).
macro_rules! shared {
    ($($name:ty = $size:literal),+ $(,)?) => {$(
        const _: () = assert!(core::mem::size_of::<$name>() == $size);
        #[cfg(feature = "user")]
        #[expect(unsafe_code, reason = "the trait promises what the assert and repr(C) ensure")]
        // SAFETY: repr(C), Copy, only integers, and the size is the sum of the fields' sizes: no padding.
        unsafe impl aya::Pod for $name {}
    )+};
}
pub(crate) use shared;
