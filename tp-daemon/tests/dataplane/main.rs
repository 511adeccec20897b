//! The dataplane in network namespaces: real sockets on the app's side, an in-process far end behind the contract.
//!
//! Needs root. Every test has a namespace of its own, which goes away with its thread; nothing is touched outside.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

mod connect;
mod dns;
mod far_end;
mod forwarded;
mod frames;
mod guard;
mod host_rules;
mod icmp;
mod loops;
mod measure;
mod measure_dataplanes;
#[path = "../support/namespace.rs"]
mod namespace;
mod networks;
mod path_mtu;
mod segments;
mod silly_windows;
mod site;
mod test_run;
mod udp;
mod userspace;
mod vip;
mod wire;
