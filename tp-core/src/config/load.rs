//! All layers above the manager's, gathered in their order. The files are the caller's to open.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::extension::Kubeconfig;
use super::files::paths;
use super::layer::{Layer, Source};

/// No configuration is longer; what is, is another file by mistake.
const MAX_FILE: u64 = 256 * 1024;
/// Those of large organizations hold hundreds of clusters with their certificates.
const MAX_KUBECONFIG: u64 = 16 * 1024 * 1024;

/// Which cluster of which kubeconfig is meant. Nothing of it: the current context of the usual file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chosen {
    /// `false`: no Kubernetes at all, so nobody's extension counts.
    pub kubernetes: bool,
    pub kubeconfigs: Vec<PathBuf>,
    pub context: Option<String>,
    pub cluster: Option<String>,
}

/// Files and the extension, low to high. `env` looks a variable up; `read` reads a file up to a size and gives `None`
/// if there is none.
pub fn load(
    env: impl Fn(&str) -> Option<String>,
    read: impl Fn(&Path, u64) -> Result<Option<String>, String>,
    chosen: &Chosen,
) -> Result<Vec<Layer>, ConfigError> {
    let mut layers = Vec::new();
    for path in paths(&env) {
        let source = Source::File(path.display().to_string());
        match read(&path, MAX_FILE) {
            Ok(Some(text)) => layers.push(Layer::parse(source, &text)?),
            Ok(None) => {}
            Err(error) => {
                let hint =
                    "it belongs to the configuration of tp: correct or remove it (docs/configuration.md)";
                return Err(ConfigError::unreadable(source, format!("it cannot be read: {error}"), hint));
            }
        }
    }
    if chosen.kubernetes {
        layers.extend(extension(env, read, chosen)?);
    }
    Ok(layers)
}

/// A kubeconfig that cannot be read is told by whoever needs it for more than this.
fn extension(
    env: impl Fn(&str) -> Option<String>,
    read: impl Fn(&Path, u64) -> Result<Option<String>, String>,
    chosen: &Chosen,
) -> Result<Option<Layer>, ConfigError> {
    let usual = || env("HOME").map(|home| Path::new(&home).join(".kube/config"));
    let paths = if chosen.kubeconfigs.is_empty() {
        usual().into_iter().collect()
    } else {
        chosen.kubeconfigs.clone()
    };
    let texts: Vec<(String, String)> = paths
        .iter()
        .filter_map(|path| Some((path.display().to_string(), read(path, MAX_KUBECONFIG).ok()??)))
        .collect();
    // most kubeconfigs have none, and need not be parsed a second time
    if !texts.iter().any(|(_, text)| text.contains(super::EXTENSION)) {
        return Ok(None);
    }
    let kubeconfig = Kubeconfig::read(texts.iter().map(|(path, text)| (path.clone(), text.as_str())));
    kubeconfig.layer(chosen.context.as_deref(), chosen.cluster.as_deref())
}
