//! The parts of `tp`.

pub mod helm;
pub mod kube_flags;
pub mod report;
