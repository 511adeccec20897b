//! UDP flows: the kernel lets the datagrams of a known flow cross, everything else goes to the daemon.

use crate::Addr;

/// 5-tuple as the app sees it: `dest` may be a VIP.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowKey {
    pub app: Addr,
    pub dest: Addr,
    pub app_port: u16,
    pub dest_port: u16,
    pub proto: u8,
    pub zero: [u8; 3],
}

/// Written by the daemon when it admits the flow, counted up by the kernel programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowValue {
    pub packets_to_cluster: u64,
    pub bytes_to_cluster: u64,
    pub packets_to_app: u64,
    pub bytes_to_app: u64,
    /// CLOCK_MONOTONIC, of the last datagram either way.
    pub last_seen_ns: u64,
    /// 0 until the far end has sent something.
    pub answered: u64,
}

crate::shared!(FlowKey = 40, FlowValue = 48);

pub const MAX_FLOWS: u32 = 65_536;
