//! Connecting and disconnecting: what a user sees, and what is left on the machine.
use std::sync::Arc;

use libtest_mimic::Trial;

use crate::standalone::Standalone;

/// Cases that start and end the daemon themselves.
pub fn trials(_site: &Arc<Standalone>) -> Vec<Trial> {
    Vec::new()
}
