//! The parts of `tp`.

pub mod args;
pub mod bench;
pub mod completion;
pub mod config;
pub mod connect;
pub mod daemon;
pub mod doctor;
pub mod helm;
pub mod invoker;
pub mod kube_flags;
pub mod maps;
pub mod output;
pub mod progress;
pub mod quit;
pub mod report;
pub mod signals;
pub mod status;
pub mod version;
