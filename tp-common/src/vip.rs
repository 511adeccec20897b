//! Virtual addresses: what they stand for, and how the answer finds its way back under the same name.

use crate::Addr;

/// A flow as the private namespace sees it. Its value in the `NAT` map is the VIP the app believes to talk to.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NatKey {
    pub app: Addr,
    pub cluster: Addr,
    pub app_port: u16,
    pub cluster_port: u16,
    pub proto: u8,
    pub zero: [u8; 3],
}

/// A datagram in fragments: only its first one has ports, so the first one leaves the VIP for the others here.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FragmentKey {
    pub app: Addr,
    pub cluster: Addr,
    pub id: u32,
}

crate::shared!(NatKey = 40, FragmentKey = 36);

/// A /16. The maps take memory for what is in them only.
pub const MAX_VIPS: u32 = 65_536;
pub const MAX_NAT: u32 = 65_536;
pub const MAX_FRAGMENTED: u32 = 1_024;
