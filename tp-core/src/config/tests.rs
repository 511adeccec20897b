//! The configuration as a whole: every key, every precedence, every error.

mod errors;
mod merging;
mod published;
mod round_trip;

use super::{Config, Kubeconfig, Layer, Source};

/// A layer of a file, which has to be right.
fn file(path: &str, yaml: &str) -> Layer {
    Layer::parse(Source::File(path.to_owned()), yaml).unwrap_or_else(|error| panic!("{error}"))
}

/// Value and source of a key, as the view has them; several if its list adds up.
fn shown(config: &Config, key: &str) -> Vec<(String, String)> {
    let rows = config.view().into_iter().filter(|row| row.key == key);
    rows.map(|row| (row.value.to_string(), row.source)).collect()
}

const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: dev
contexts:
- name: dev
  context: {cluster: dev-cluster, user: me, namespace: blue}
- name: other
  context: {cluster: plain, user: me}
clusters:
- name: dev-cluster
  cluster:
    server: https://10.0.0.1:6443
    extensions:
    - name: someone.else
      extension: {also-proxy: 7}
    - name: telepresence.io
      extension:
        also-proxy: [10.7.0.0/16]
        dns:
          exclude-suffixes: [.example]
          lookup-timeout: 3s
        manager:
          namespace: traffic
- name: plain
  cluster: {server: 'https://10.0.0.2:6443'}
";

fn kubeconfig(text: &str) -> Kubeconfig {
    Kubeconfig::read([("/home/a/.kube/config".to_owned(), text)])
}
