//! Drives the built programs from outside, in network namespaces of the tests' own.
//!
//! A `Site` is a cluster side and a workstation; the cases in `cases` run on any site: plain routing (`native`, which proves
//! the cases themselves), our standalone manager (`standalone`), and a Kubernetes (the crate beside this one).
pub mod cases;
pub mod host;
pub mod lifecycle;
mod load;
pub mod manager;
pub mod native;
pub mod netns;
pub mod place;
pub mod process;
pub mod runner;
pub mod site;
pub mod stage;
pub mod standalone;
pub mod subject;
pub mod topology;
pub mod tp;
pub mod workstation;
