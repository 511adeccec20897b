//! The dataplane in network namespaces: real sockets on the app's side, an in-process far end behind the contract.
//!
//! Needs root. Every test has a namespace of its own, which goes away with its thread; nothing is touched outside.

mod connect;
mod dns;
mod far_end;
mod forwarded;
mod guard;
mod host_rules;
mod site;
mod udp;
mod vip;
