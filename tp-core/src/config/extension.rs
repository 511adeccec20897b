//! The extension `telepresence.io` of a cluster in a kubeconfig, found with its file and line.

use super::error::ConfigError;
use super::layer::{Layer, Source};
use super::yaml::{self, Node, Tree};

/// Its name in the list `extensions` of a cluster.
pub const EXTENSION: &str = "telepresence.io";

/// The files of a kubeconfig, the first of the list first. Whether they are right is for kubectl's rules to say: here
/// is only looked for the extension.
#[derive(Debug, Default)]
pub struct Kubeconfig {
    files: Vec<(String, Node)>,
}

impl Kubeconfig {
    /// Texts with their paths. One that is no YAML says nothing here.
    pub fn read<'a>(files: impl IntoIterator<Item = (String, &'a str)>) -> Self {
        let parsed = files.into_iter().filter_map(|(path, text)| Some((path, yaml::parse(text).ok()?)));
        Self { files: parsed.collect() }
    }

    /// What the extension sets for the cluster of `context` (`None`: the current one), or for `cluster` if that is
    /// given.
    pub fn layer(&self, context: Option<&str>, cluster: Option<&str>) -> Result<Option<Layer>, ConfigError> {
        let Some((source, node)) = self.extension(context, cluster) else { return Ok(None) };
        match Layer::read(source, node) {
            (layer, problems) if problems.is_empty() => Ok(Some(layer)),
            (_, problems) => Err(ConfigError { problems }),
        }
    }

    fn extension(&self, context: Option<&str>, cluster: Option<&str>) -> Option<(Source, &Node)> {
        let context = context.or_else(|| {
            let mut named = self.files.iter().filter_map(|(_, node)| node.tree.get("current-context"));
            named.find_map(|node| node.tree.text().filter(|name| !name.is_empty()))
        });
        let cluster = match cluster {
            Some(cluster) => cluster,
            None => {
                self.named("contexts", context?)?.1.tree.get("context")?.tree.get("cluster")?.tree.text()?
            }
        };
        let (file, named) = self.named("clusters", cluster)?;
        let extensions = named.tree.get("cluster")?.tree.get("extensions")?.tree.list();
        let ours = extensions.iter().find(|item| is_named(item, EXTENSION))?;
        let source =
            Source::Kubeconfig { context: context.unwrap_or_default().to_owned(), file: file.to_owned() };
        Some((source, ours.tree.get("extension")?))
    }

    /// An item of a list of named things: the first file that has one counts.
    fn named(&self, list: &str, name: &str) -> Option<(&str, &Node)> {
        self.files.iter().find_map(|(file, node)| {
            let items = node.tree.get(list)?.tree.list();
            Some((file.as_str(), items.iter().find(|item| is_named(item, name))?))
        })
    }
}

fn is_named(node: &Node, name: &str) -> bool {
    match node.tree.get("name").map(|name| &name.tree) {
        // a cluster may be called 1
        Some(Tree::Text(text) | Tree::Number(text)) => text == name,
        _ => false,
    }
}
