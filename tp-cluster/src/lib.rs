//! The cluster's side of tp: one program, `tp-traffic`, that runs in pods.
//!
//! It uses no libc resolver and no libc plugin, so that it can be linked statically and run in an empty image:
//!
//! ```text
//! RUSTFLAGS="-C target-feature=+crt-static" cargo build --release -p tp-cluster --target x86_64-unknown-linux-gnu
//! ```
//!
//! (`--target` keeps the flag away from build scripts and procedural macros, which cannot be static.)

pub mod args;
pub mod log;
pub mod manager;
