//! The recursion guard's memory: who asked for an IP:PORT first, and until when others are refused.

use crate::Addr;

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RecursionKey {
    pub dest: Addr,
    pub port: u16,
    pub proto: u8,
    pub zero: u8,
}

/// The flow that came first; its own retransmits pass.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecursionValue {
    /// CLOCK_MONOTONIC. Others are refused until then.
    pub expiry_ns: u64,
    pub app: Addr,
    pub app_port: u16,
    /// [`HELD`] or [`ESTABLISHED`].
    pub state: u8,
    pub zero: [u8; 5],
}

/// The first flow waits for the far end's answer. Written by the kernel program.
pub const HELD: u8 = 0;
/// It has been established; the block duration runs. Written by the daemon.
pub const ESTABLISHED: u8 = 1;

crate::shared!(RecursionKey = 20, RecursionValue = 32);

/// Longer than any kernel goes on sending a SYN (Linux: 127 s). The daemon decides about a flow within that time, and
/// should it never do so, nothing stays closed for longer.
pub const MAX_HELD_NS: u64 = 130_000_000_000;

pub const MAX_RECURSION: u32 = 65_536;
pub const MAX_NODE_SIDE: u32 = 64;
