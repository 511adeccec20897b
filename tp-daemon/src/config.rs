//! The configuration of a connection: files, kubeconfig and flags, read by the daemon as the invoking user, and what
//! the manager has to say below them. tp-core merges.

use anyhow::anyhow;
use tp_core::cluster::ClusterView;
use tp_core::config::{Config, ConfigError, Layer, Source};
use tp_proto::config::layers;
use tp_proto::daemon::ConnectRequest;

use crate::failure::Failure;

const DOING: &str = "reading the configuration";

/// The layers above the manager's, low to high.
#[derive(Clone, Debug)]
pub struct Sources {
    layers: Vec<Layer>,
}

/// All layers. What the manager reports later can be put in its place again and again.
#[derive(Clone, Debug)]
pub struct Settings {
    sources: Sources,
    manager: Layer,
    notes: Vec<String>,
}

impl Sources {
    /// Reads what counts for `request`. To be called as the invoking user.
    pub async fn load(request: &ConnectRequest) -> Result<Self, Failure> {
        let request = request.clone();
        let env = |name: &str| std::env::var(name).ok();
        // the files may be on a network
        let read = tokio::task::spawn_blocking(move || layers(&request, env)).await;
        let layers =
            read.map_err(|error| Failure::new(anyhow!(error).context(DOING), BUG))?.map_err(failure)?;
        Ok(Self { layers })
    }

    /// Before the manager can be asked.
    pub fn config(&self) -> Config {
        Config::merge(&self.layers)
    }

    /// `client_config`: what the manager answers to GetClientConfig. Whatever is wrong in it becomes a note.
    pub fn with_manager(&self, client_config: &str) -> Settings {
        let (manager, problems) = Layer::lenient(Source::Manager, client_config);
        let notes: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for note in &notes {
            tracing::warn!("{note}");
        }
        Settings { sources: self.clone(), manager, notes }
    }
}

impl Settings {
    /// What was left out of the manager's layer, and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The settings that hold while the cluster looks like `view`.
    pub fn config(&self, view: &ClusterView) -> Config {
        let below = [Layer::of_cluster(view), self.manager.clone()];
        let mut config = Config::merge(below.iter().chain(&self.sources.layers));
        config.notes.clone_from(&self.notes);
        config
    }
}

fn failure(error: ConfigError) -> Failure {
    let hint = error.hint();
    Failure::new(anyhow!(error).context(DOING), hint)
}

const BUG: &str = "this is a bug; please report it with the daemon's log";

#[cfg(test)]
mod tests;
