//! The dataplane in network namespaces: real sockets on the app's side, an in-process far end behind the contract.
//!
//! Needs root. Every test has a namespace of its own, which goes away with its thread; nothing is touched outside.

mod connect;
mod far_end;
mod site;
