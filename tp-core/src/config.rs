//! The configuration: layers, each from one source, merged into the settings that hold.
//!
//! Layers from low to high: defaults, the manager's, files (the system's, then the user's), the kubeconfig's cluster
//! extension `telepresence.io`, flags. The highest layer that sets a key decides, but lists of subnets add up.

pub mod duration;
mod error;
mod extension;
mod files;
mod key;
mod kind;
mod layer;
mod load;
mod schema;
mod settings;
mod values;
mod view;
mod yaml;

pub use error::{ConfigError, Problem};
pub use extension::{EXTENSION, Kubeconfig};
pub use files::paths;
pub use key::{Effect, Key, Spec};
pub use kind::{Kind, LEVELS, Value};
pub use layer::{Flags, Layer, Origin, Source};
pub use load::{Chosen, load};
pub use schema::schema;
pub use settings::{Cluster, Config, Dns, Intercept, LogLevels, Timeouts};
pub use view::{Row, json, text};
pub use yaml::Place;

#[cfg(test)]
mod tests;
