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
#[derive(Clone, Copy, Debug)]
pub struct RecursionValue {
    /// CLOCK_MONOTONIC.
    pub expiry_ns: u64,
    pub app: Addr,
    pub app_port: u16,
    pub zero: [u8; 6],
}

crate::shared!(RecursionKey = 20, RecursionValue = 32);

pub const MAX_RECURSION: u32 = 65_536;
pub const MAX_NODE_SIDE: u32 = 64;
