//! A standalone manager on loopback, driven over its wire.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

#[path = "standalone/agents.rs"]
mod agents;
#[path = "standalone/bench.rs"]
mod bench;
#[path = "standalone/dial.rs"]
mod dial;
#[path = "standalone/entrance.rs"]
mod entrance;
#[path = "standalone/frames.rs"]
mod frames;
#[path = "standalone/load.rs"]
mod load;
#[path = "standalone/names.rs"]
mod names;
#[path = "standalone/sessions.rs"]
mod sessions;
#[path = "standalone/site.rs"]
mod site;
