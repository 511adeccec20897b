//! Names of the values the loader sets before the programs are verified: a branch a setting rules out is gone.

/// Interface index of the TUN.
pub const TUN_IF: &str = "TUN_IF";
/// Interface index of the host end of the pair.
pub const PAIR_IF: &str = "PAIR_IF";
/// Bytes before the IP header on the TUN: 0; 14 under PROG_TEST_RUN, which always brings an Ethernet header.
pub const LINK_LEN: &str = "LINK_LEN";
/// Addresses of the daemon's DNS server; unset (all zero) when the family is not in use.
pub const DNS_V4: &str = "DNS_V4";
pub const DNS_V6: &str = "DNS_V6";
/// SO_NETNS_COOKIE of the namespace whose apps are ours.
pub const NETNS_COOKIE: &str = "NETNS_COOKIE";
/// aya-log's level: 0 = off, 5 = trace.
pub const LOG_LEVEL: &str = "AYA_LOG_LEVEL";
