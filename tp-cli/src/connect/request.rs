//! What the flags of `tp connect` ask the daemon for.

use std::env;
use std::path::Path;

use anyhow::{Context, Result};
use tp_proto::daemon::connect_request::Target;
use tp_proto::daemon::{ConnectRequest, KubeTarget};

use super::ConnectArgs;
use crate::kube_flags::KubeFlags;

/// The daemon works in another directory, and its environment is of the moment it was started: paths become absolute,
/// and the kubeconfig that the environment names is named.
pub(super) fn from(args: &ConnectArgs) -> Result<ConnectRequest> {
    let target = match &args.manager {
        Some(url) => Target::ManagerUrl(url.clone()),
        None => Target::Kube(kube_target(&args.kube, args.manager_namespace.clone().unwrap_or_default())?),
    };
    let mut request = ConnectRequest {
        target: Some(target),
        namespace: text(args.kube.namespace.as_ref()),
        insecure_plaintext: args.insecure_plaintext,
        log_level: text(args.log_level.as_ref()),
        dataplane: args.dataplane.word().to_owned(),
        ..ConnectRequest::default()
    };
    args.routing.put_into(&mut request);
    Ok(request)
}

fn kube_target(flags: &KubeFlags, manager_namespace: String) -> Result<KubeTarget> {
    let kubeconfig = match &flags.kubeconfig {
        Some(file) => absolute(Some(file))?,
        None => kubeconfigs_of_environment()?,
    };
    Ok(KubeTarget {
        kubeconfig,
        context: text(flags.context.as_ref()),
        cluster: text(flags.cluster.as_ref()),
        user: text(flags.user.as_ref()),
        as_user: text(flags.as_user.as_ref()),
        as_groups: flags.as_group.clone(),
        as_uid: text(flags.as_uid.as_ref()),
        server: text(flags.server.as_ref()),
        token: text(flags.token.as_ref()),
        certificate_authority: absolute(flags.certificate_authority.as_deref())?,
        client_certificate: absolute(flags.client_certificate.as_deref())?,
        client_key: absolute(flags.client_key.as_deref())?,
        tls_server_name: text(flags.tls_server_name.as_ref()),
        insecure_skip_tls_verify: flags.insecure_skip_tls_verify,
        request_timeout_ms: flags
            .request_timeout
            .map_or(0, |timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        manager_namespace,
    })
}

/// `KUBECONFIG` is a list, as `PATH` is.
fn kubeconfigs_of_environment() -> Result<String> {
    let Some(list) = env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) else {
        return Ok(String::new());
    };
    let files = env::split_paths(&list).filter(|file| !file.as_os_str().is_empty());
    let files: Vec<String> = files.map(|file| absolute(Some(&file))).collect::<Result<_>>()?;
    let list = env::join_paths(files).context("reading KUBECONFIG")?;
    Ok(list.to_string_lossy().into_owned())
}

fn absolute(path: Option<impl AsRef<Path>>) -> Result<String> {
    let Some(path) = path else { return Ok(String::new()) };
    let path = path.as_ref();
    let absolute =
        std::path::absolute(path).with_context(|| format!("reading the path {}", path.display()))?;
    Ok(absolute.display().to_string())
}

fn text(flag: Option<&String>) -> String {
    flag.cloned().unwrap_or_default()
}
