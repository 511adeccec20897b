//! What a program on the workstation may expect, on any site.
pub mod closing;
pub mod names;
pub mod resolvers;
pub mod scale;
pub mod tcp;
pub mod udp;

use anyhow::Result;

use crate::site::Site;

pub type Case = fn(&dyn Site) -> Result<()>;

/// All of them, by name.
pub fn all() -> Vec<(&'static str, Case)> {
    [tcp::CASES, closing::CASES, udp::CASES, names::CASES, resolvers::CASES, scale::CASES].concat()
}
