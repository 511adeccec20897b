//! The daemon's shell around tp-core: every module here does I/O, every decision is made in tp-core.

pub mod args;
pub mod backend;
pub mod config;
pub mod control;
pub mod dataplane;
pub mod direct;
pub mod dns;
pub mod doctor;
pub mod exits;
pub mod failure;
pub mod flows;
pub mod janitor;
pub mod kube;
pub mod logging;
pub mod machine;
pub mod privileges;
pub mod process;
pub mod progress;
pub mod session;
pub mod signals;
pub mod virtual_addresses;
pub mod workstation;
