//! Kubeconfig and the usual kubectl flags, as a client that is ready to use.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tp_proto::daemon::KubeTarget;

use crate::failure::{Failure, OrHint};

/// A kubeconfig as far as we need it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub context: String,
    pub server: String,
    /// Of the context, or `default`.
    pub namespace: String,
    config: Config,
}

pub(super) async fn load(target: &KubeTarget) -> Result<Loaded, Failure> {
    let kubeconfig = read(&target.kubeconfig)?;
    let options = KubeConfigOptions {
        context: non_empty(&target.context),
        cluster: non_empty(&target.cluster),
        user: non_empty(&target.user),
    };
    let context = options.context.clone().or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.or_hint(
        "reading the kubeconfig",
        "see `kubectl config get-contexts`, and choose one with --context",
    )?;
    apply_flags(&mut config, target)?;
    config.connect_timeout = Some(Duration::from_millis(target.request_timeout_ms));
    Ok(Loaded {
        context,
        server: config.cluster_url.to_string().trim_end_matches('/').to_owned(),
        namespace: config.default_namespace.clone(),
        config,
    })
}

fn read(paths: &str) -> Result<Kubeconfig, Failure> {
    let paths: Vec<PathBuf> =
        std::env::split_paths(paths).filter(|path| !path.as_os_str().is_empty()).collect();
    if paths.is_empty() {
        return Kubeconfig::read().or_hint(
            "reading the kubeconfig",
            "name one with --kubeconfig FILE (sudo does not keep $KUBECONFIG)",
        );
    }
    let mut merged: Option<Kubeconfig> = None;
    for path in &paths {
        let next = Kubeconfig::read_from(path).map_err(|error| {
            let hint = hint_for_reading(&error);
            Failure::new(anyhow!(error).context(format!("reading the kubeconfig {}", path.display())), hint)
        })?;
        merged = Some(match merged {
            Some(first) => {
                first.merge(next).or_hint("merging the kubeconfigs", "give one file with --kubeconfig")?
            }
            None => next,
        });
    }
    merged.ok_or_else(|| Failure::new(anyhow!("no kubeconfig given"), "name one with --kubeconfig FILE"))
}

/// The daemon has no right of root's to read what the invoking user may not, not even when that user is root.
fn hint_for_reading(error: &KubeconfigError) -> &'static str {
    match error {
        KubeconfigError::ReadConfig(error, _) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            "the daemon reads it as the user who called sudo, with no further rights: run `sudo tp connect` as the \
             file's owner, or give that user a copy"
        }
        _ => "check the path given with --kubeconfig",
    }
}

fn apply_flags(config: &mut Config, target: &KubeTarget) -> Result<(), Failure> {
    if !target.server.is_empty() {
        config.cluster_url = target
            .server
            .parse()
            .or_hint(format!("reading --server {}", target.server), "give a URL: https://HOST:PORT")?;
    }
    if !target.certificate_authority.is_empty() {
        let file = PathBuf::from(&target.certificate_authority);
        // read now, so that a wrong path is this flag's error and not a failed TLS handshake
        std::fs::metadata(&file).or_hint(
            format!("reading --certificate-authority {}", file.display()),
            "give the path of a PEM file that you may read",
        )?;
        config.root_cert_file = Some(file);
    }
    if target.insecure_skip_tls_verify {
        config.accept_invalid_certs = true;
    }
    if !target.tls_server_name.is_empty() {
        config.tls_server_name = Some(target.tls_server_name.clone());
    }
    identify(config, target);
    Ok(())
}

/// Who we are to the API server, where flags say so.
fn identify(config: &mut Config, target: &KubeTarget) {
    let auth = &mut config.auth_info;
    if !target.token.is_empty() {
        auth.token = Some(target.token.clone().into());
        auth.token_file = None;
        auth.exec = None;
        // the API server looks at a client certificate first and would never see the token
        auth.client_certificate = None;
        auth.client_certificate_data = None;
        auth.client_key = None;
        auth.client_key_data = None;
    }
    if !target.client_certificate.is_empty() {
        auth.client_certificate = Some(target.client_certificate.clone());
        auth.client_certificate_data = None;
    }
    if !target.client_key.is_empty() {
        auth.client_key = Some(target.client_key.clone());
        auth.client_key_data = None;
    }
    auth.impersonate = non_empty(&target.as_user).or(auth.impersonate.take());
    auth.impersonate_uid = non_empty(&target.as_uid).or(auth.impersonate_uid.take());
    if !target.as_groups.is_empty() {
        auth.impersonate_groups = Some(target.as_groups.clone());
    }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl Loaded {
    pub(super) fn client(&self) -> Result<Client, Failure> {
        super::client::client(&self.config).or_hint(
            format!("preparing the connection to {}", self.server),
            "check the certificates and the credential plugin of this context in the kubeconfig",
        )
    }

    /// Addresses of the API server (or of the proxy in front of it); empty if the name does not resolve.
    pub(super) async fn resolve_server(&self) -> Vec<IpAddr> {
        let url = self.config.proxy_url.as_ref().unwrap_or(&self.config.cluster_url);
        let Some(host) = url.host() else { return Vec::new() };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = host.parse() {
            return vec![ip];
        }
        let port = url.port_u16().unwrap_or(443);
        match tokio::net::lookup_host((host, port)).await.context("resolving the API server") {
            Ok(addresses) => addresses.map(|address| address.ip()).collect(),
            Err(error) => {
                tracing::warn!("{error:#}");
                Vec::new()
            }
        }
    }
}
