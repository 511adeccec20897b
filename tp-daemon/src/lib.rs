//! The daemon's shell around tp-core: every module here does I/O, every decision is made in tp-core.

pub mod dataplane;
pub mod dns;
