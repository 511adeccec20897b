//! Every decision of tp, without I/O.
//!
//! Nothing in this crate opens a socket, reads a file, spawns a task or asks the clock: `now` is always an
//! argument. The shells (tp-daemon, tp-cluster) move the bytes and carry out what is decided here.

pub mod addr;
pub mod backlog;
pub mod cluster;
pub mod config;
pub mod conflicts;
pub mod dial;
pub mod dns;
pub mod doctor;
pub mod flow;
pub mod invoker;
pub mod join;
pub mod lookup;
pub mod machine;
pub mod routes;
pub mod routing;
pub mod session;
pub mod sessions;
pub mod sink;
pub mod subnets;
pub mod tun_addresses;
pub mod tunnel;
pub mod udp_flows;
pub mod vips;
pub mod window;
