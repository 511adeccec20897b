//! The cluster's side of tp: one program, `tp-traffic`, that runs in pods.
//!
//! It uses no libc resolver and no libc plugin, so that it can be linked statically and run in an empty image:
//!
//! ```text
//! cargo rustc --release -p tp-cluster --bin tp-traffic -- -C target-feature=+crt-static
//! ```
//!
//! The flag reaches only the last step: nothing is compiled twice, and build scripts and procedural macros, which cannot
//! be static, stay as they are.

pub mod args;
pub mod limits;
pub mod log;
pub mod manager;
pub mod report;
pub mod sink;
