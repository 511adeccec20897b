//! The settings of this connection: files, kubeconfig and flags, and what the manager has to say.

use tp_core::cluster::ClusterView;
use tp_core::routing::Routing;

pub(super) struct Settings;
pub(super) struct Config {
    pub(super) routing: Routing,
}

impl Settings {
    pub(super) fn new(_: String) -> Self {
        Self
    }
    pub(super) fn config(&self, _: &ClusterView) -> Config {
        Config { routing: Routing::default() }
    }
}
