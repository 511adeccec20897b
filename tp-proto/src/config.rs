//! A connect request as layers of the configuration: its flags, the files and the kubeconfig that count for it.
//!
//! Both ends of the control socket want this: the daemon to connect, `tp config view` to tell what a connect would do.

mod file;
mod flags;

use std::path::PathBuf;

use tp_core::config::{Chosen, ConfigError, Layer, load};

use crate::daemon::ConnectRequest;
use crate::daemon::connect_request::Target;

/// The layers above the manager's, low to high, read by whoever calls. `env` looks a variable up.
pub fn layers(
    request: &ConnectRequest,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Layer>, ConfigError> {
    let flags = flags::layer(request)?;
    let mut layers = load(env, file::read, &chosen(request))?;
    layers.push(flags);
    Ok(layers)
}

/// The cluster that is meant, by the same flags that choose it for the connection.
fn chosen(request: &ConnectRequest) -> Chosen {
    let non_empty = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    match &request.target {
        Some(Target::ManagerUrl(_)) => Chosen::default(),
        None => Chosen { kubernetes: true, ..Chosen::default() },
        Some(Target::Kube(target)) => Chosen {
            kubernetes: true,
            kubeconfigs: std::env::split_paths(&target.kubeconfig)
                .filter(|path: &PathBuf| !path.as_os_str().is_empty())
                .collect(),
            context: non_empty(&target.context),
            cluster: non_empty(&target.cluster),
        },
    }
}

#[cfg(test)]
mod tests;
