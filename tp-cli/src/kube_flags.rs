//! kubectl's flags, and what they make of the kubeconfig: the cluster `tp` talks to, and as whom.

use crate::report::Advice;
use anyhow::{Context, Result};
use clap::Args;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// The flags every command takes, with kubectl's names and meaning. Serializable, so that one process can hand
/// them to another.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubeFlags {
    /// Kubeconfig file [default: $KUBECONFIG, then ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace [default: the context's; for `tp helm` the manager's]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Cluster of the kubeconfig, instead of the context's
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub cluster: Option<String>,
    /// User of the kubeconfig, instead of the context's
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub user: Option<String>,
    /// Act as this user (impersonation)
    #[arg(long = "as", global = true, value_name = "USER", hide_short_help = true)]
    pub as_user: Option<String>,
    /// Act as this group; repeatable
    #[arg(long, global = true, value_name = "GROUP", hide_short_help = true)]
    pub as_group: Vec<String>,
    /// Act as this uid
    #[arg(long, global = true, value_name = "UID", hide_short_help = true)]
    pub as_uid: Option<String>,
    /// Address of the API server
    #[arg(short, long, global = true, value_name = "URL", hide_short_help = true)]
    pub server: Option<String>,
    /// Bearer token
    #[arg(long, global = true, value_name = "TOKEN", hide_short_help = true)]
    pub token: Option<String>,
    /// Certificate authority of the API server (PEM)
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub certificate_authority: Option<PathBuf>,
    /// Client certificate (PEM)
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub client_certificate: Option<PathBuf>,
    /// Key of the client certificate (PEM)
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub client_key: Option<PathBuf>,
    /// Do not check the API server's certificate
    #[arg(long, global = true, hide_short_help = true)]
    pub insecure_skip_tls_verify: bool,
    /// Name to expect in the API server's certificate
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub tls_server_name: Option<String>,
    /// Give up on one request after this time, for example 10s [default: never]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration, hide_short_help = true)]
    pub request_timeout: Option<Duration>,
}

impl KubeFlags {
    /// The cluster and identity these flags and the kubeconfig name. Streams (watches, port-forwards) of a client
    /// made from it live on: `--request-timeout` is left to [`KubeFlags::client`].
    pub async fn config(&self) -> Result<Config> {
        let mut config = self.base().await?;
        if let Some(server) = &self.server {
            config.cluster_url = server
                .parse()
                .with_context(|| format!("reading --server {server}"))
                .hint("give a URL like https://10.0.0.1:6443")?;
        }
        if let Some(file) = &self.certificate_authority {
            // Read now, so that a wrong path is this flag's error and not a failed TLS handshake.
            std::fs::metadata(file)
                .with_context(|| format!("reading --certificate-authority {}", file.display()))
                .hint("give the path of a PEM file")?;
            config.root_cert_file = Some(file.clone());
        }
        if self.insecure_skip_tls_verify {
            config.accept_invalid_certs = true;
        }
        if let Some(name) = &self.tls_server_name {
            config.tls_server_name = Some(name.clone());
        }
        self.identify(&mut config);
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
        }
        Ok(config)
    }

    /// A client for single requests, which end after `--request-timeout`.
    pub async fn client(&self) -> Result<kube::Client> {
        let mut config = self.config().await?;
        config.read_timeout = self.request_timeout.filter(|limit| !limit.is_zero());
        config.reset_reader_on_write = true;
        let url = config.cluster_url.clone();
        kube::Client::try_from(config)
            .with_context(|| format!("preparing to talk to the API server {url}"))
            .hint("check the certificates and the credential plugin of this context in the kubeconfig")
    }

    fn identify(&self, config: &mut Config) {
        let auth = &mut config.auth_info;
        if let Some(token) = &self.token {
            auth.token = Some(token.clone().into());
            auth.token_file = None;
            auth.exec = None;
            // The API server looks at a client certificate first and would never see the token.
            auth.client_certificate = None;
            auth.client_certificate_data = None;
            auth.client_key = None;
            auth.client_key_data = None;
        }
        if let Some(file) = &self.client_certificate {
            auth.client_certificate = Some(file.display().to_string());
            auth.client_certificate_data = None;
        }
        if let Some(file) = &self.client_key {
            auth.client_key = Some(file.display().to_string());
            auth.client_key_data = None;
        }
        if let Some(user) = &self.as_user {
            auth.impersonate = Some(user.clone());
        }
        if let Some(uid) = &self.as_uid {
            auth.impersonate_uid = Some(uid.clone());
        }
        if !self.as_group.is_empty() {
            auth.impersonate_groups = Some(self.as_group.clone());
        }
    }

    async fn base(&self) -> Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
        };
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let loaded = match kubeconfig {
            Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
            Err(error) => Err(error),
        };
        match loaded {
            Ok(config) => Ok(config),
            Err(_) if self.is_bare_server() => self.server_alone(),
            // A program in a pod has no kubeconfig but a service account.
            Err(error) if self.nothing_chosen() && is_missing(&error) => match Config::incluster() {
                Ok(config) => Ok(config),
                Err(_) => Err(error).context("reading the kubeconfig").hint(NO_KUBECONFIG),
            },
            Err(error) => {
                let hint = hint_for(&error);
                Err(error).context("reading the kubeconfig").hint(hint)
            }
        }
    }

    fn is_bare_server(&self) -> bool {
        self.server.is_some() && self.nothing_chosen()
    }

    fn nothing_chosen(&self) -> bool {
        self.kubeconfig.is_none() && self.context.is_none() && self.cluster.is_none() && self.user.is_none()
    }

    fn server_alone(&self) -> Result<Config> {
        let server = self.server.as_deref().unwrap_or_default();
        let url = server
            .parse()
            .with_context(|| format!("reading --server {server}"))
            .hint("give a URL like https://10.0.0.1:6443")?;
        Ok(Config::new(url))
    }
}

const NO_KUBECONFIG: &str =
    "point --kubeconfig or KUBECONFIG at the file that your cluster's provider gives you";

fn is_missing(error: &KubeconfigError) -> bool {
    matches!(
        error,
        KubeconfigError::FindPath
            | KubeconfigError::ReadConfig(..)
            | KubeconfigError::CurrentContextNotSet
            | KubeconfigError::MissingClusterUrl
    )
}

fn hint_for(error: &KubeconfigError) -> &'static str {
    match error {
        KubeconfigError::CurrentContextNotSet => {
            "name a context with --context, or set one: kubectl config use-context"
        }
        KubeconfigError::LoadContext(_) => "see the contexts there are: kubectl config get-contexts",
        KubeconfigError::LoadClusterOfContext(_) => "see the clusters there are: kubectl config get-clusters",
        _ => NO_KUBECONFIG,
    }
}

/// kubectl's notation of a time: `1m30s`, `500ms`, or a number of seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time like 30s, 1m30s or 500ms");
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return Err(wrong()),
        };
        let seconds = number.parse::<f64>().map_err(|_| wrong())? * scale;
        let part = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests;
