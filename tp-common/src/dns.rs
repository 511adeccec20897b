//! DNS redirection: which server an app really asked.

use crate::Addr;

/// The app's end of a query, as the DNS server sees it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DnsClient {
    pub app: Addr,
    pub port: u16,
    pub proto: u8,
    pub zero: u8,
}

/// The server the app asked before the hooks changed it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DnsServer {
    pub addr: Addr,
    pub port: u16,
    pub zero: u16,
}

crate::shared!(DnsClient = 20, DnsServer = 20);

pub const DNS_PORT: u16 = 53;

/// The daemon connects a UDP socket to this port of the DNS address once, so that the hooks learn which process it
/// is: inside a container its own idea of its pid is not the kernel's.
pub const IDENTIFY_PORT: u16 = 1;

pub const MAX_DNS: u32 = 16_384;
